# SPDX-License-Identifier: GPL-2.0-only
"""Figures of several columns, the first of which is ours; with goals, and as a table."""

import statistics


def judge(ratio, most):
    return {"ratio": round(ratio, 3), "at_most": most, "verdict": "ok" if ratio <= most else "missed"}


class Figures:
    def __init__(self, columns):
        self.columns = columns
        self.rows = {}

    def head(self):
        print(f"{'':14}" + "".join(f"{column:>16}" for column in self.columns), flush=True)

    def add(self, name, unit, values, goals=()):
        """A row of medians: `values` has what was measured by column, `goals` (column, at most)."""
        row = {column: round(statistics.median(some), 3) for column, some in values.items()}
        judged = [
            {"than": column} | judge(row[self.columns[0]] / row[column], most)
            for column, most in goals
        ]
        self.put(name, row, unit, judged)
        return row

    def growth(self, name, half, whole, most):
        """A row that says how many times as long twice as many objects take."""
        self.put(name, {self.columns[0]: round(whole / half, 2)}, "", [judge(whole / half, most)])

    def put(self, name, row, unit, judged):
        self.rows[name] = row | {"unit": unit} | ({"goals": judged} if judged else {})
        cells = "".join(f"{row[column]:16.2f}" if column in row else f"{'-':>16}" for column in self.columns)
        told = "; ".join(
            f"{goal['ratio']:.2f}{' of ' + goal['than'] if 'than' in goal else ''}, at most {goal['at_most']:g}: "
            f"{goal['verdict']}"
            for goal in judged
        )
        print(f"{name:14}{cells} {unit:4} {told}".rstrip(), flush=True)

    def verdicts(self):
        """Says how many goals were met, and how many were missed."""
        all_of = [goal["verdict"] for row in self.rows.values() for goal in row.get("goals", [])]
        print(f"{all_of.count('ok')} goals met, {all_of.count('missed')} missed")
