//! Cookies, which prove a client's address before a server keeps anything of it, and session ids;
//! the tables of sessions are elsewhere.
//!
//! Only the server that makes a cookie reads it, so that its layout is this implementation's own.

#![cfg_attr(not(any(fuzzing, test)), warn(clippy::arithmetic_side_effects))]

#[cfg(test)]
mod tests;

use std::{
    fmt,
    hash::Hasher,
    net::{IpAddr, SocketAddr},
};

use siphasher::sip::SipHasher24;
use siphasher::sip128::{Hasher128, SipHasher24 as SipHasher128};

use super::packet::{COOKIE_BYTES, Epoch, Nonce, Params, SessionId};

/// The keys of one run of a server. Those of the run before are gone, and with them its cookies.
#[derive(Clone)]
pub(crate) struct CookieKey {
    mac: [u8; 16],
    session: [u8; 16],
}

/// What a cookie of ours says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verified {
    /// What its client accepts.
    pub(crate) params: Params,
    /// When it was made, in milliseconds after the server's start.
    pub(crate) issued_ms: u64,
}

/// Why a cookie makes no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It isn't one of this run, for this session and this address.
    Forged,
    /// It was made too long ago.
    Expired,
}

impl CookieKey {
    /// Bytes of key material.
    pub(crate) const BYTES: usize = 32;

    /// Keys from random bytes: 16 for cookies, 16 for session ids.
    pub(crate) fn new(material: &[u8; Self::BYTES]) -> Self {
        let (mut mac, mut session) = ([0; 16], [0; 16]);
        let (first, second) = material.split_at(16);
        mac.copy_from_slice(first);
        session.copy_from_slice(second);
        Self { mac, session }
    }

    /// The id of the session that this client may begin with a cookie of this instant.
    pub(crate) fn session_id(&self, nonce: Nonce, issued_ms: u64, addr: SocketAddr) -> SessionId {
        // r[impl session.id]
        let mut hasher = SipHasher24::new_with_key(&self.session);
        hasher.write(&nonce.0.to_le_bytes());
        hasher.write(&issued_ms.to_le_bytes());
        write_addr(&mut hasher, addr);
        SessionId(hasher.finish())
    }

    /// The cookie for a session, made `issued_ms` after the server's start.
    pub(crate) fn make(
        &self,
        nonce: Nonce,
        issued_ms: u64,
        params: &Params,
        epoch: Epoch,
        session: SessionId,
        addr: SocketAddr,
    ) -> [u8; COOKIE_BYTES] {
        // r[impl cookie.binding]
        let content = Content { nonce, issued_ms, params: params.encode_short() };
        let mut cookie = [0; COOKIE_BYTES];
        let mac = self.mac(&content, epoch, session, addr).to_le_bytes();
        let parts: [&[u8]; 4] =
            [&nonce.0.to_le_bytes(), &issued_ms.to_le_bytes(), &content.params, &mac];
        for (byte, part) in cookie.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *part;
        }
        cookie
    }

    /// What a cookie says, if it is one of ours for this session, address and time.
    pub(crate) fn verify(
        &self,
        cookie: &[u8; COOKIE_BYTES],
        epoch: Epoch,
        session: SessionId,
        addr: SocketAddr,
        now_ms: u64,
        lifetime_ms: u64,
    ) -> Result<Verified, Refused> {
        // r[impl cookie.binding] r[impl cookie.lifetime]
        let (content, mac) = Content::decode(cookie).ok_or(Refused::Forged)?;
        let difference = self.mac(&content, epoch, session, addr) ^ mac;
        // One comparison of all bits: how long it takes says nothing of the MAC.
        if difference != 0 {
            return Err(Refused::Forged);
        }
        // Every cookie of ours passes this, unless the code that makes them is wrong: an id that
        // anybody could choose would let a session begin twice.
        if session != self.session_id(content.nonce, content.issued_ms, addr) {
            return Err(Refused::Forged);
        }
        let age_ms = now_ms.checked_sub(content.issued_ms).ok_or(Refused::Forged)?;
        if age_ms > lifetime_ms {
            return Err(Refused::Expired);
        }
        let params = Params::decode_short(&content.params).ok_or(Refused::Forged)?;
        Ok(Verified { params, issued_ms: content.issued_ms })
    }

    fn mac(&self, content: &Content, epoch: Epoch, session: SessionId, addr: SocketAddr) -> u128 {
        let mut hasher = SipHasher128::new_with_key(&self.mac);
        hasher.write(&content.nonce.0.to_le_bytes());
        hasher.write(&content.issued_ms.to_le_bytes());
        hasher.write(&content.params);
        hasher.write(&epoch.0.to_le_bytes());
        hasher.write(&session.0.to_le_bytes());
        write_addr(&mut hasher, addr);
        hasher.finish128().as_u128()
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey(..)")
    }
}

/// What a cookie says in clear.
struct Content {
    nonce: Nonce,
    issued_ms: u64,
    params: [u8; 8],
}

impl Content {
    /// The content of a cookie, and its MAC.
    fn decode(cookie: &[u8; COOKIE_BYTES]) -> Option<(Self, u128)> {
        let (nonce, rest) = cookie.split_first_chunk()?;
        let (issued, rest) = rest.split_first_chunk()?;
        let (params, rest) = rest.split_first_chunk()?;
        let (mac, _) = rest.split_first_chunk()?;
        let nonce = Nonce(u64::from_le_bytes(*nonce));
        let content = Self { nonce, issued_ms: u64::from_le_bytes(*issued), params: *params };
        Some((content, u128::from_le_bytes(*mac)))
    }
}

/// An address and its port. IPv4 is taken as IPv6, so that a socket of both sees one client.
fn write_addr(hasher: &mut impl Hasher, addr: SocketAddr) {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    hasher.write(&ip.octets());
    hasher.write(&addr.port().to_le_bytes());
}
