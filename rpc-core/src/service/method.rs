//! Methods and their identity on the wire; what a method does is the service's business.

use std::fmt;

/// The identity of a method on the wire: 32 bits of a hash of the service's name, then 32 bits of a
/// hash of `Service.method`. It never depends on the order in which methods are declared.
///
/// Spec: `r[method.id]`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodId(u64);

impl MethodId {
    /// The id of `service.method`.
    #[must_use]
    pub const fn of(service: &str, method: &str) -> Self {
        // r[impl method.id]
        let service_hash = fnv1a(FNV_BASIS, service.as_bytes());
        let method_hash = fnv1a(fnv1a(service_hash, b"."), method.as_bytes());
        Self((fold(service_hash) as u64) << 32 | fold(method_hash) as u64)
    }

    /// The id with this number, as it went over the wire.
    #[must_use]
    pub const fn from_wire(number: u64) -> Self {
        Self(number)
    }

    /// Its number, as it goes over the wire.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// The half that all methods of one service share.
    #[must_use]
    pub(crate) const fn service_half(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

impl fmt::Debug for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MethodId({:#018x})", self.0)
    }
}

/// One method of a service: its names, its id, and what callers may assume about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Method {
    id: MethodId,
    service: &'static str,
    name: &'static str,
    idempotent: bool,
}

impl Method {
    /// The method `name` of `service`.
    #[must_use]
    pub const fn new(service: &'static str, name: &'static str) -> Self {
        Self { id: MethodId::of(service, name), service, name, idempotent: false }
    }

    /// Says that running the method twice does no more than running it once.
    #[must_use]
    pub const fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }

    /// Its identity on the wire.
    #[must_use]
    pub const fn id(&self) -> MethodId {
        self.id
    }

    /// The name of its service.
    #[must_use]
    pub const fn service(&self) -> &'static str {
        self.service
    }

    /// Its name within the service.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Whether running it twice does no more than running it once.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        self.idempotent
    }

    /// The same methods; stops compilation when two of them have one id.
    ///
    /// # Panics
    /// In a `const`, as a compile error, when two methods have the same name, or names that hash to
    /// the same id.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "there is no other way in a const, and it is below the length"
    )]
    pub const fn unique(methods: &[Self]) -> &[Self] {
        let mut i = 0;
        while i < methods.len() {
            let mut j = i + 1;
            while j < methods.len() {
                assert!(
                    methods[i].id.0 != methods[j].id.0,
                    "two methods of this service have the same name or id: rename one with #[rpc(name = \"..\")]"
                );
                j += 1;
            }
            i += 1;
        }
        methods
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.service, self.name)
    }
}

/// FNV-1a, 64 bit (draft-eastlake-fnv, section 4), whose hash is folded to 32 bits by xor (section 3).
const FNV_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

#[expect(
    clippy::indexing_slicing,
    reason = "there is no other way in a const, and it is below the length"
)]
const fn fnv1a(mut hash: u64, bytes: &[u8]) -> u64 {
    let mut i = 0;
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(FNV_PRIME);
        i += 1;
    }
    hash
}

#[expect(clippy::cast_possible_truncation, reason = "folding is what it is for")]
const fn fold(hash: u64) -> u32 {
    (hash >> 32) as u32 ^ hash as u32
}
