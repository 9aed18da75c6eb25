# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# Debian suites other than the host's: where the mirror is, and which versions it
# has. Uses apt with directories of its own, so the host's apt is left alone. Sourced.

# What is known about a suite is looked up again after this many days.
resolve_days=7

# The suites that a target suite's packages come from.
suite_pockets() {
    case $1 in
        trixie) echo trixie trixie-backports ;;
        forky) echo forky ;;
        *) die "unknown suite $1 (known: trixie, forky)" ;;
    esac
}

# os_release FIELD: what the host says of itself.
os_release() {
    sed -n "s/^$1=//p" /etc/os-release | tr -d '"'
}

# Every entry of the host's apt sources, in either format, one a line:
# "URI SUITE COMPONENT...".
apt_sources() {
    apt_files '*.list' | awk '
            $1 != "deb" { next }
            { sub(/#.*/, ""); sub(/\[[^]]*\]/, ""); $1 = ""; sub(/^ +/, ""); print }'
    apt_files '*.sources' | awk '
            function flush(   u, s, i, j) {
                if (types ~ /(^| )deb( |$)/ && tolower(enabled) != "no") {
                    u = split(uris, uri, " ")
                    s = split(suites, suite, " ")
                    for (i = 1; i <= u; i++) for (j = 1; j <= s; j++)
                        print uri[i], suite[j], components
                }
                types = uris = suites = components = enabled = field = ""
            }
            /^#/ { next }
            /^[ \t]*$/ { flush(); next }
            /^[ \t]/ { value = $0 }
            /^[^ \t]/ { field = tolower($0); sub(/:.*/, "", field)
                        value = $0; sub(/^[^:]*:/, "", value) }
            field == "types" { types = types " " value }
            field == "uris" { uris = uris " " value }
            field == "suites" { suites = suites " " value }
            field == "components" { components = components " " value }
            field == "enabled" { enabled = value; gsub(/[ \t]/, "", enabled) }
            END { flush() }'
}

# The text of the host's apt sources in files of that pattern, blank lines between.
apt_files() {
    local file
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*; do
        # shellcheck disable=SC2053
        [[ -e $file && $file == $1 ]] || continue
        cat "$file"
        printf '\n\n'
    done
}

# The URL of the Debian archive, as the host itself uses it. Entries of third
# parties name suites or components of their own, or another path.
apt_mirror() {
    local uri suite components found='' codename
    if [[ ${COMPOSEFS_MIRROR:-} ]]; then
        echo "$COMPOSEFS_MIRROR"
        return
    fi
    codename=$(os_release VERSION_CODENAME)
    while read -r uri suite components; do
        case " $components " in *' main '*) ;; *) continue ;; esac
        case $suite in
            "$codename" | stable | testing | unstable | sid | oldstable) ;;
            *) continue ;;
        esac
        case $uri in
            mirror+file:*)
                # A file with one mirror a line, as Debian's cloud images have.
                uri=$(awk '/^[a-z]+:/ { print $1; exit }' "${uri#mirror+file:}")
                ;;
            http:* | https:* | file:* | copy:* | tor+http*) ;;
            *) continue ;;
        esac
        case ${uri%/} in
            */debian) echo "${uri%/}"; return ;;
            *) found=${found:-${uri%/}} ;;
        esac
    done < <(apt_sources)
    [[ $found ]] || die "no Debian archive among the apt sources of this machine; set COMPOSEFS_MIRROR to its URL"
    echo "$found"
}

# One-line sources for a suite, signed by the Debian archive's keys.
apt_lines() {
    local mirror pocket
    mirror=$(apt_mirror)
    for pocket in $(suite_pockets "$1"); do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $pocket main"
    done
}

# Sets apt_options: apt's view of a suite, below the cache. Debian's own testing
# snapshot may be past its date on a mirror that stands still.
apt_world() {
    local world=$cache/apt/$1
    mkdir -p "$world"/{etc/apt.conf.d,etc/preferences.d,etc/sources.list.d,lists/partial,archives/partial}
    : >>"$world/status"
    apt_lines "$1" >"$world/etc/sources.list.$$"
    mv "$world/etc/sources.list.$$" "$world/etc/sources.list"
    apt_options=(
        -o "Dir::Etc=$world/etc"
        -o "Dir::State=$world"
        -o "Dir::State::lists=$world/lists"
        -o "Dir::State::status=$world/status"
        -o "Dir::Cache=$world"
        -o "APT::Architecture=amd64"
        -o "APT::Sandbox::User="
        -o "Acquire::Languages=none"
        -o "Acquire::Check-Valid-Until=false"
    )
}

# All packages of a suite, one a line: POCKET<tab>NAME<tab>VERSION<tab>DEPENDS.
apt_packages() {
    local pocket file
    apt-get "${apt_options[@]}" indextargets --format '$(CODENAME) $(FILENAME)' \
        'Created-By: Packages' | while read -r pocket file; do
        /usr/lib/apt/apt-helper cat-file "$file" | awk -v pocket="$pocket" '
            function flush() {
                if (name != "") printf "%s\t%s\t%s\t%s\n", pocket, name, version, depends
                name = version = depends = ""
            }
            /^$/ { flush() }
            /^Package: / { name = $2 }
            /^Version: / { version = $2 }
            /^Depends: / { depends = substr($0, 10) }
            END { flush() }'
    done
}

# resolve SUITE [now]: sets $resolved to a file that says which versions the suite
# has, at most $resolve_days old; without a network an older one has to do.
#   kernel RELEASE VERSION SOURCE-PACKAGE IMAGE-PACKAGE...
#   package NAME VERSION
resolve() {
    local suite=$1
    suite_pockets "$suite" >/dev/null
    cache_init
    mkdir -p "$cache/resolved"
    resolved=$cache/resolved/$suite
    if [[ ${2:-} != now && -e $resolved &&
        ! $(find "$resolved" -mtime "+$resolve_days") ]]; then
        return
    fi
    [[ $(dpkg --print-architecture) == amd64 ]] || die "only amd64 machines are supported so far"
    prepare_host
    (
        exec {own}>"$cache/lock/resolve-$suite"
        cache_lock "$own" -x "package lists of $suite: another run is fetching them"
        note "package lists of $suite: fetching (usually 10 seconds)"
        apt_world "$suite"
        apt-get "${apt_options[@]}" -qq update >&2 || exit 1
        apt_packages >"$resolved.packages"
        resolve_kernel <"$resolved.packages" >"$resolved.new"
        awk -F '\t' -v main="$suite" '$1 == main { print "package", $2, $3 }' \
            "$resolved.packages" >>"$resolved.new"
        rm "$resolved.packages"
        mv "$resolved.new" "$resolved"
    ) || {
        [[ -e $resolved ]] || die "cannot fetch the package lists of $suite from $(apt_mirror)"
        note "package lists of $suite: cannot be fetched; going on with those of $(date -r "$resolved" +%F)"
    }
}

# The newest kernel of the cloud flavour whose source, headers and image all have
# one version. Reads apt_packages' lines.
resolve_kernel() {
    awk -F '\t' '
        $2 ~ /^linux-(source|headers|image|binary|modules|base)-[0-9]/ {
            version[$2] = $3; depends[$2] = $4
        }
        # The image and every package of the same version that it is split into.
        function closure(name, want,   list, n, i, part) {
            if (name in seen || version[name] != want) return ""
            seen[name] = 1
            n = split(depends[name], list, /, */)
            part = " " name
            for (i = 1; i <= n; i++) { sub(/ .*/, "", list[i]); part = part closure(list[i], want) }
            return part
        }
        END {
            for (headers in version) {
                if (headers !~ /^linux-headers-[0-9.]+\+deb[0-9]+-cloud-amd64$/) continue
                release = substr(headers, length("linux-headers-") + 1)
                want = version[headers]
                split(want, number, ".")
                source = "linux-source-" number[1] "." number[2]
                if (version[source] != want || version["linux-image-" release] != want) continue
                delete seen
                print release, want, source closure("linux-image-" release, want)
            }
        }' | sort -V | tail -n 1 | sed 's/^/kernel /' | grep . ||
        die "no kernel with source, headers and image in one version"
}

# versions_of PACKAGE...: "NAME=VERSION" of each, from $resolved; what goes into keys.
versions_of() {
    awk -v names="$*" '
        BEGIN { n = split(names, list, " "); for (i = 1; i <= n; i++) want[list[i]] = 1 }
        $1 == "package" && $2 in want { print $2 "=" $3 }' "$resolved" | sort -u
}
