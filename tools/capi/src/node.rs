// SPDX-License-Identifier: GPL-2.0-only
//! A node of a tree, as C programs build it: one at a time, in any order, with pointers in both
//! directions, and counted references.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::ffi::{CStr, CString};
use std::rc::{Rc, Weak};

use composefs_format::disk::{dirent, xattr};
use composefs_tools::tree::{FileType, Time, INLINE_MAX};
use rustix::io::Errno;

use crate::verity::Bytes;

/// Longest name of an extended attribute.
const XATTR_NAME_MAX: usize = 255;
/// What the attributes of a node may take: half of what EROFS has room for.
const XATTRS_MAX: usize = u16::MAX as usize / 2;
/// The same for what an image was found to have.
const XATTRS_FOUND_MAX: usize = u16::MAX as usize;
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
    pub rdev: u32,
    pub size: u64,
    pub mtime: Time,
}

/// An extended attribute.
#[derive(Clone)]
pub struct Xattr {
    pub name: CString,
    /// With a NUL behind it, which does not count.
    value: Box<[u8]>,
}

impl Xattr {
    pub fn value(&self) -> &[u8] {
        &self.value[..self.value.len() - 1]
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
    content: Option<Box<[u8]>>,
    digest: Option<Bytes>,
    xattrs: Option<Box<Xattrs>>,
    parent: Weak<Node>,
    /// By name.
    children: Vec<Rc<Node>>,
    link: Option<Rc<Node>>,
    /// The link that was to be made would have led back to itself.
    has_bad_link: bool,
}

/// The extended attributes of a node.
#[derive(Clone, Default)]
struct Xattrs {
    list: Vec<Xattr>,
    /// What they are reckoned to take.
    size: usize,
}

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
        look(self.inner.borrow().content.as_deref())
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
        self.inner.borrow_mut().content = (!content.is_empty()).then(|| content.into());
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

    pub fn xattr_count(&self) -> usize {
        self.inner
            .borrow()
            .xattrs
            .as_ref()
            .map_or(0, |xattrs| xattrs.list.len())
    }

    /// Calls `look` with the attribute of this number, which stays where it is until it is set
    /// anew or taken away.
    pub fn xattr<T>(&self, index: usize, look: impl FnOnce(Option<&Xattr>) -> T) -> T {
        let inner = self.inner.borrow();
        look(
            inner
                .xattrs
                .as_ref()
                .and_then(|xattrs| xattrs.list.get(index)),
        )
    }

    /// The number of the attribute `name`.
    pub fn find_xattr(&self, name: &CStr) -> Option<usize> {
        let inner = self.inner.borrow();
        let mut list = inner.xattrs.as_ref()?.list.iter();
        list.position(|xattr| *xattr.name == *name)
    }

    /// Sets an attribute, in place of one of this name.
    ///
    /// # Errors
    /// [`Errno::RANGE`] if the name is none, or the attributes take too much; [`Errno::INVAL`] if
    /// the value does.
    pub fn set_xattr(&self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        self.set_xattr_up_to(name, value, XATTRS_MAX)
    }

    /// As [`set_xattr()`](Self::set_xattr), for what an image was found to have.
    ///
    /// # Errors
    /// As there.
    pub fn set_found_xattr(&self, name: &CStr, value: &[u8]) -> Result<(), Errno> {
        self.set_xattr_up_to(name, value, XATTRS_FOUND_MAX)
    }

    fn set_xattr_up_to(&self, name: &CStr, value: &[u8], max: usize) -> Result<(), Errno> {
        if !(1..=XATTR_NAME_MAX).contains(&name.count_bytes()) {
            return Err(Errno::RANGE);
        }
        if value.len() > u16::MAX as usize {
            return Err(Errno::INVAL);
        }
        // What has this name is gone even if there is no room for the new value, as in C.
        let _ = self.unset_xattr(name);
        let mut inner = self.inner.borrow_mut();
        let xattrs = inner.xattrs.get_or_insert_default();
        let header = match xattrs.list.is_empty() {
            true => xattr::HEADER_SIZE,
            false => 0,
        };
        let size = xattrs.size + header + cost(name, value);
        if size > max {
            return Err(Errno::RANGE);
        }
        xattrs.list.push(Xattr {
            name: name.to_owned(),
            value: [value, &[0]].concat().into(),
        });
        xattrs.size = size;
        Ok(())
    }

    /// Takes an attribute away.
    ///
    /// # Errors
    /// [`Errno::NODATA`] if there is none of this name.
    pub fn unset_xattr(&self, name: &CStr) -> Result<(), Errno> {
        let index = self.find_xattr(name).ok_or(Errno::NODATA)?;
        let mut inner = self.inner.borrow_mut();
        let xattrs = inner.xattrs.as_mut().ok_or(Errno::NODATA)?;
        let xattr = xattrs.list.swap_remove(index);
        xattrs.size = match xattrs.list.is_empty() {
            true => 0,
            false => xattrs.size.saturating_sub(cost(&xattr.name, xattr.value())),
        };
        Ok(())
    }

    pub fn parent(&self) -> Option<Rc<Self>> {
        self.inner.borrow().parent.upgrade()
    }

    pub fn child_count(&self) -> usize {
        self.inner.borrow().children.len()
    }

    pub fn child(&self, index: usize) -> Option<Rc<Self>> {
        self.inner.borrow().children.get(index).cloned()
    }

    /// The child of this name.
    pub fn lookup(&self, name: &CStr) -> Option<Rc<Self>> {
        let inner = self.inner.borrow();
        let index = inner.position(name).ok()?;
        inner.children.get(index).cloned()
    }

    /// Adds a child.
    ///
    /// # Errors
    /// [`Errno::NOTDIR`], [`Errno::INVAL`] and [`Errno::NAMETOOLONG`] for a bad name,
    /// [`Errno::MLINK`] if the child is one already, [`Errno::EXIST`] if the name is taken.
    pub fn add(self: &Rc<Self>, child: Rc<Self>, name: &CStr) -> Result<(), Errno> {
        if !self.is_dir() {
            return Err(Errno::NOTDIR);
        }
        match name.count_bytes() {
            0 => return Err(Errno::INVAL),
            len if len > dirent::NAME_MAX => return Err(Errno::NAMETOOLONG),
            _ => {}
        }
        if Rc::ptr_eq(self, &child) || child.name(|name| name.is_some()) {
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
        inner.children.insert(place, child);
        Ok(())
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
        {
            let mut inner = self.inner.borrow_mut();
            inner.link = Some(Rc::clone(target));
            inner.has_bad_link = false;
        }
        target.change(|stat| stat.nlink = stat.nlink.wrapping_add(1));
    }

    /// Makes it another name of `target`, which knows of that.
    pub fn set_found_link(&self, target: &Rc<Self>) {
        self.inner.borrow_mut().link = Some(Rc::clone(target));
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
            // What they take is forgotten, as in C: more can be added than to the first.
            xattrs: inner
                .xattrs
                .clone()
                .map(|xattrs| Box::new(Xattrs { size: 0, ..*xattrs })),
            link: inner.link.clone(),
            ..Inner::default()
        };
        Self::with(self.stat(), copy)
    }
}

impl Inner {
    /// Where the child of this name is, or would be. Most names come in their order.
    fn position(&self, name: &CStr) -> Result<usize, usize> {
        let compare = |child: &Rc<Node>| child.name(|other| other.cmp(&Some(name)));
        match self.children.last().map(compare) {
            None | Some(Ordering::Less) => Err(self.children.len()),
            Some(Ordering::Equal) => Ok(self.children.len() - 1),
            Some(Ordering::Greater) => self.children.binary_search_by(compare),
        }
    }
}

/// What an attribute is reckoned to take: with its header, and the worst alignment.
fn cost(name: &CStr, value: &[u8]) -> usize {
    xattr::ENTRY_SIZE + xattr::ALIGNMENT - 1 + name.count_bytes() + value.len()
}

impl Drop for Node {
    /// What is below it goes as well, or else becomes single nodes for whoever still has them. One
    /// by one, however deep the tree is.
    fn drop(&mut self) {
        let mut left = std::mem::take(&mut self.inner.get_mut().children);
        while let Some(child) = left.pop() {
            if let Ok(mut child) = child.inner.try_borrow_mut() {
                child.name = None;
                child.parent = Weak::new();
                left.append(&mut child.children);
            }
        }
    }
}
