// SPDX-License-Identifier: GPL-2.0-only
//! A node of a tree, as C programs build it: one at a time, in any order, with pointers in both
//! directions, and counted references.

mod xattrs;

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::rc::{Rc, Weak};

use composefs_format::disk::dirent;
use composefs_tools::tree::{FileType, Time, INLINE_MAX};
use rustix::io::Errno;

use crate::verity::Bytes;
use xattrs::Xattrs;

/// Longest target or path of an object, with the NUL at its end.
const PATH_MAX: usize = 4096;

/// What `stat` says of a file.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Stat {
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// The two parts of the time of modification: as one they would be followed by a gap.
    pub mtime_sec: i64,
    pub mtime_nsec: u32,
    pub rdev: u32,
}

impl Stat {
    pub fn mtime(&self) -> Time {
        let Self {
            mtime_sec: sec,
            mtime_nsec: nsec,
            ..
        } = *self;
        Time { sec, nsec }
    }
}

/// Where C's library has the mode. Programs have no business to know, but upstream's own
/// `mkcomposefs` looks there.
const MODE_OFFSET: usize = 144;

/// A node.
#[repr(C)]
pub struct Node {
    inner: RefCell<Inner>,
    _padding: [u8; MODE_OFFSET - size_of::<RefCell<Inner>>()],
    stat: Cell<Stat>,
}

const _: () = assert!(std::mem::offset_of!(Node, stat) == MODE_OFFSET);
const _: () = assert!(std::mem::offset_of!(Stat, mode) == 0);

#[derive(Default)]
struct Inner {
    name: Option<CString>,
    payload: Option<CString>,
    content: Option<Box<Content>>,
    digest: Option<Bytes>,
    xattrs: Xattrs,
    parent: Weak<Node>,
    children: Option<Box<Children>>,
    link: Option<Rc<Node>>,
    /// The link that was to be made would have led back to itself.
    has_bad_link: bool,
}

/// The content that the image is to hold. Apart, because most nodes have none.
#[derive(Clone)]
struct Content(Box<[u8]>);

/// What is in a directory, by name. Apart, because most nodes have none.
#[derive(Default)]
struct Children(Vec<Rc<Node>>);

impl Node {
    pub fn new() -> Rc<Self> {
        Self::with(
            Stat {
                nlink: 1,
                ..Stat::default()
            },
            Inner::default(),
        )
    }

    /// Another name of `target`, which knows of that.
    pub fn found_link(target: &Rc<Self>) -> Rc<Self> {
        let node = Self::with(Stat::default(), Inner::default());
        node.set_found_link(target);
        node
    }

    fn with(stat: Stat, inner: Inner) -> Rc<Self> {
        Rc::new(Self {
            inner: RefCell::new(inner),
            _padding: [0; MODE_OFFSET - size_of::<RefCell<Inner>>()],
            stat: Cell::new(stat),
        })
    }

    pub fn stat(&self) -> Stat {
        self.stat.get()
    }

    pub fn change(&self, change: impl FnOnce(&mut Stat)) {
        let mut stat = self.stat.get();
        change(&mut stat);
        self.stat.set(stat);
    }

    pub fn file_type(&self) -> Option<FileType> {
        FileType::from_mode(self.stat().mode as u16)
    }

    pub fn is_dir(&self) -> bool {
        self.file_type() == Some(FileType::Directory)
    }

    /// Sets the size. Content of another size is forgotten.
    pub fn set_size(&self, size: u64) {
        if self.stat().size != size {
            self.set_no_content(size);
        }
    }

    /// Calls `look` with the name, which stays where it is until the node leaves its parent.
    pub fn name<T>(&self, look: impl FnOnce(Option<&CStr>) -> T) -> T {
        look(self.inner.borrow().name.as_deref())
    }

    /// Calls `look` with the target of a symlink, or the path of a file's object, which stay where
    /// they are until others are set.
    pub fn payload<T>(&self, look: impl FnOnce(Option<&CStr>) -> T) -> T {
        look(self.inner.borrow().payload.as_deref())
    }

    /// # Errors
    /// [`Errno::NAMETOOLONG`].
    pub fn set_payload(&self, payload: Option<&CStr>) -> Result<(), Errno> {
        if payload.is_some_and(|payload| payload.count_bytes() >= PATH_MAX) {
            return Err(Errno::NAMETOOLONG);
        }
        self.inner.borrow_mut().payload = payload.map(CStr::to_owned);
        Ok(())
    }

    /// Sets the target of a symlink, and with it the size.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if this is no symlink or there is no target, [`Errno::NAMETOOLONG`].
    pub fn set_target(&self, target: Option<&CStr>) -> Result<(), Errno> {
        let target = target
            .filter(|target| !target.is_empty())
            .ok_or(Errno::INVAL)?;
        if self.file_type() != Some(FileType::Symlink) {
            return Err(Errno::INVAL);
        }
        self.set_payload(Some(target))?;
        self.change(|stat| stat.size = target.count_bytes() as u64);
        Ok(())
    }

    /// Calls `look` with the content that the image is to hold, which stays where it is until other
    /// content or another size is set.
    pub fn content<T>(&self, look: impl FnOnce(Option<&[u8]>) -> T) -> T {
        let inner = self.inner.borrow();
        look(inner.content.as_deref().map(|Content(bytes)| &**bytes))
    }

    /// Sets the content, and with it the size.
    ///
    /// # Errors
    /// [`Errno::INVAL`] if there is more than an image holds.
    pub fn set_content(&self, content: &[u8]) -> Result<(), Errno> {
        if content.len() > INLINE_MAX {
            return Err(Errno::INVAL);
        }
        self.change(|stat| stat.size = content.len() as u64);
        self.inner.borrow_mut().content =
            (!content.is_empty()).then(|| Box::new(Content(content.into())));
        Ok(())
    }

    /// Sets the size of what is not given.
    pub fn set_no_content(&self, size: u64) {
        self.change(|stat| stat.size = size);
        self.inner.borrow_mut().content = None;
    }

    /// Calls `look` with the digest, which stays where it is as long as the node.
    pub fn digest<T>(&self, look: impl FnOnce(Option<&Bytes>) -> T) -> T {
        look(self.inner.borrow().digest.as_ref())
    }

    pub fn set_digest(&self, digest: Option<Bytes>) {
        self.inner.borrow_mut().digest = digest;
    }

    pub fn parent(&self) -> Option<Rc<Self>> {
        self.inner.borrow().parent.upgrade()
    }

    pub fn child_count(&self) -> usize {
        self.inner.borrow().children().len()
    }

    pub fn child(&self, index: usize) -> Option<Rc<Self>> {
        self.inner.borrow().children().get(index).cloned()
    }

    /// The child of this name.
    pub fn lookup(&self, name: &CStr) -> Option<Rc<Self>> {
        let inner = self.inner.borrow();
        let index = inner.position(name).ok()?;
        inner.children().get(index).cloned()
    }

    /// Adds a child.
    ///
    /// # Errors
    /// [`Errno::NOTDIR`], [`Errno::INVAL`] and [`Errno::NAMETOOLONG`] for a bad name,
    /// [`Errno::MLINK`] if the child is one already, or is above this, [`Errno::EXIST`] if the name
    /// is taken.
    pub fn add(self: &Rc<Self>, child: Rc<Self>, name: &CStr) -> Result<(), Errno> {
        if !self.is_dir() {
            return Err(Errno::NOTDIR);
        }
        match name.count_bytes() {
            0 => return Err(Errno::INVAL),
            len if len > dirent::NAME_MAX => return Err(Errno::NAMETOOLONG),
            _ => {}
        }
        if child.name(|name| name.is_some()) || self.is_below(&child) {
            return Err(Errno::MLINK);
        }
        let mut inner = self.inner.borrow_mut();
        let Err(place) = inner.position(name) else {
            return Err(Errno::EXIST);
        };
        {
            let mut child = child.inner.borrow_mut();
            child.name = Some(name.to_owned());
            child.parent = Rc::downgrade(self);
        }
        let children = inner.children.get_or_insert_default();
        children.0.insert(place, child);
        Ok(())
    }

    /// Whether it is `other`, or somewhere below it.
    fn is_below(self: &Rc<Self>, other: &Rc<Self>) -> bool {
        if other.child_count() == 0 {
            return Rc::ptr_eq(self, other);
        }
        std::iter::successors(Some(Rc::clone(self)), |node| node.parent())
            .any(|node| Rc::ptr_eq(&node, other))
    }

    /// The node that this one is another name of.
    pub fn link(&self) -> Option<Rc<Self>> {
        self.inner.borrow().link.clone()
    }

    /// Makes it another name of `target`, which gets one link more. That a link leads back to
    /// itself is found when an image is made.
    pub fn set_link(self: &Rc<Self>, target: &Rc<Self>) {
        if Rc::ptr_eq(self, target) || target.linked().is_none() {
            self.inner.borrow_mut().has_bad_link = true;
            return;
        }
        self.inner.borrow_mut().has_bad_link = false;
        self.set_found_link(target);
        target.change(|stat| stat.nlink = stat.nlink.wrapping_add(1));
    }

    /// Makes it another name of `target`, which knows of that.
    pub fn set_found_link(&self, target: &Rc<Self>) {
        let old = self.inner.borrow_mut().link.replace(Rc::clone(target));
        // This may be the last reference to it, and what is below it looks at this node.
        drop(old);
    }

    pub fn has_bad_link(&self) -> bool {
        self.inner.borrow().has_bad_link
    }

    /// What this node's links lead to in the end, which is itself if it is none; `None` if they go
    /// in a circle.
    pub fn linked(self: &Rc<Self>) -> Option<Rc<Self>> {
        let mut node = Rc::clone(self);
        // Twice as fast, the tortoise meets it in every circle.
        let mut tortoise = Rc::clone(self);
        loop {
            for _ in 0..2 {
                let Some(next) = node.link() else {
                    return Some(node);
                };
                node = next;
            }
            tortoise = tortoise.link()?;
            if Rc::ptr_eq(&node, &tortoise) {
                return None;
            }
        }
    }

    /// A copy of what it is, but not of where it is: without a name, a parent and children.
    pub fn copy(&self) -> Rc<Self> {
        let inner = self.inner.borrow();
        let copy = Inner {
            payload: inner.payload.clone(),
            content: inner.content.clone(),
            digest: inner.digest,
            xattrs: inner.xattrs.copy(),
            link: inner.link.clone(),
            ..Inner::default()
        };
        Self::with(self.stat(), copy)
    }
}

impl Inner {
    fn children(&self) -> &[Rc<Node>] {
        self.children.as_ref().map_or(&[], |children| &children.0)
    }

    fn take_children(&mut self) -> Vec<Rc<Node>> {
        self.children.take().unwrap_or_default().0
    }

    /// Where the child of this name is, or would be. Most names come in their order.
    fn position(&self, name: &CStr) -> Result<usize, usize> {
        let compare = |child: &Rc<Node>| child.name(|other| other.cmp(&Some(name)));
        let children = self.children();
        match children.last().map(compare) {
            None | Some(Ordering::Less) => Err(children.len()),
            Some(Ordering::Equal) => Ok(children.len() - 1),
            Some(Ordering::Greater) => children.binary_search_by(compare),
        }
    }
}

impl Drop for Node {
    /// What is below it goes as well, or else becomes single nodes for whoever still has them. One
    /// by one, however deep the tree is and however long a chain of links.
    fn drop(&mut self) {
        let inner = self.inner.get_mut();
        let mut links = Vec::from_iter(inner.link.take());
        let mut children = inner.take_children();
        loop {
            let (node, is_child) = match children.pop() {
                Some(child) => (child, true),
                None => match links.pop() {
                    Some(target) => (target, false),
                    None => return,
                },
            };
            let is_last = Rc::strong_count(&node) == 1;
            let Ok(mut inner) = node.inner.try_borrow_mut() else {
                continue;
            };
            if is_child {
                inner.name = None;
                inner.parent = Weak::new();
            }
            if is_child || is_last {
                children.append(&mut inner.take_children());
            }
            if is_last {
                links.extend(inner.link.take());
            }
        }
    }
}
