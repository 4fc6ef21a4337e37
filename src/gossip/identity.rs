//! Who a member is to the failure detector, and the bytes of the detector's messages.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut, TryGetError};
use foca::{Header, Member, Message, State};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A member at one start of it: a newer generation takes the place of an older one, wherever it
/// is. A member that others declared dead while it lives comes back with the next generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Milliseconds since 1970 at its start, and one more for each time that it was declared dead.
    pub(super) generation: u64,
    /// Where its pool's port is.
    pub(super) at: SocketAddr,
    /// Its UUID.
    pub(super) id: Uuid,
}

impl foca::Identity for Identity {
    type Addr = Uuid;

    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation.checked_add(1)?, ..*self })
    }

    fn addr(&self) -> Uuid {
        self.id
    }

    fn win_addr_conflict(&self, other: &Self) -> bool {
        self > other
    }
}

/// Why bytes are no message of the detector.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("cut short")]
    Short,
    #[error("unknown {0} {1}")]
    Unknown(&'static str, u8),
    #[error("no room left in the packet")]
    Full,
}

impl From<TryGetError> for WireError {
    fn from(_short: TryGetError) -> Self {
        Self::Short
    }
}

/// The bytes of the detector's messages: numbers are big-endian, an identity is a UUID (16),
/// a generation (8), the address's length in bytes (1), address (4 or 16) and port (2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wire;

/// What kind a message is, in its first byte.
const PING: u8 = 1;
/// An answered ping. Its packet also carries the sender's coordinate.
pub(super) const ACK: u8 = 2;
const PING_REQ: u8 = 3;
const INDIRECT_PING: u8 = 4;
const INDIRECT_ACK: u8 = 5;
const FORWARDED_ACK: u8 = 6;
const ANNOUNCE: u8 = 7;
const FEED: u8 = 8;
const GOSSIP: u8 = 9;
const BROADCAST: u8 = 10;
const TURN_UNDEAD: u8 = 11;

impl foca::Codec<Identity> for Wire {
    type Error = WireError;

    fn encode_header(
        &mut self,
        header: &Header<Identity>,
        mut buf: impl BufMut,
    ) -> Result<(), WireError> {
        let (kind, other, number) = match &header.message {
            Message::Ping(number) => (PING, None, Some(*number)),
            Message::Ack(number) => (ACK, None, Some(*number)),
            Message::PingReq { target, probe_number } => {
                (PING_REQ, Some(target), Some(*probe_number))
            }
            Message::IndirectPing { origin, probe_number } => {
                (INDIRECT_PING, Some(origin), Some(*probe_number))
            }
            Message::IndirectAck { target, probe_number } => {
                (INDIRECT_ACK, Some(target), Some(*probe_number))
            }
            Message::ForwardedAck { origin, probe_number } => {
                (FORWARDED_ACK, Some(origin), Some(*probe_number))
            }
            Message::Announce => (ANNOUNCE, None, None),
            Message::Feed => (FEED, None, None),
            Message::Gossip => (GOSSIP, None, None),
            Message::Broadcast => (BROADCAST, None, None),
            Message::TurnUndead => (TURN_UNDEAD, None, None),
        };
        room(&buf, 160)?; // three identities of 43 bytes at most, and six bytes of numbers
        buf.put_u8(kind);
        put(&header.src, &mut buf);
        buf.put_u16(header.src_incarnation);
        put(&header.dst, &mut buf);
        if let Some(number) = number {
            buf.put_u8(number);
        }
        if let Some(other) = other {
            put(other, &mut buf);
        }
        Ok(())
    }

    fn decode_header(&mut self, mut buf: impl Buf) -> Result<Header<Identity>, WireError> {
        let kind = buf.try_get_u8()?;
        let src = get(&mut buf)?;
        let src_incarnation = buf.try_get_u16()?;
        let dst = get(&mut buf)?;
        let message = match kind {
            PING => Message::Ping(buf.try_get_u8()?),
            ACK => Message::Ack(buf.try_get_u8()?),
            PING_REQ => {
                let probe_number = buf.try_get_u8()?;
                Message::PingReq { target: get(&mut buf)?, probe_number }
            }
            INDIRECT_PING => {
                let probe_number = buf.try_get_u8()?;
                Message::IndirectPing { origin: get(&mut buf)?, probe_number }
            }
            INDIRECT_ACK => {
                let probe_number = buf.try_get_u8()?;
                Message::IndirectAck { target: get(&mut buf)?, probe_number }
            }
            FORWARDED_ACK => {
                let probe_number = buf.try_get_u8()?;
                Message::ForwardedAck { origin: get(&mut buf)?, probe_number }
            }
            ANNOUNCE => Message::Announce,
            FEED => Message::Feed,
            GOSSIP => Message::Gossip,
            BROADCAST => Message::Broadcast,
            TURN_UNDEAD => Message::TurnUndead,
            other => return Err(WireError::Unknown("kind of message", other)),
        };
        Ok(Header { src, src_incarnation, dst, message })
    }

    fn encode_member(
        &mut self,
        member: &Member<Identity>,
        mut buf: impl BufMut,
    ) -> Result<(), WireError> {
        room(&buf, 46)?;
        put(member.id(), &mut buf);
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, mut buf: impl Buf) -> Result<Member<Identity>, WireError> {
        let id = get(&mut buf)?;
        let incarnation = buf.try_get_u16()?;
        let state = match buf.try_get_u8()? {
            0 => State::Alive,
            1 => State::Suspect,
            2 => State::Down,
            other => return Err(WireError::Unknown("state of a member", other)),
        };
        Ok(Member::new(id, incarnation, state))
    }
}

fn room(buf: &impl BufMut, bytes: usize) -> Result<(), WireError> {
    if buf.remaining_mut() < bytes { Err(WireError::Full) } else { Ok(()) }
}

fn put(identity: &Identity, buf: &mut impl BufMut) {
    buf.put_u128(identity.id.as_u128());
    buf.put_u64(identity.generation);
    match identity.at.ip() {
        IpAddr::V4(ip) => {
            buf.put_u8(4);
            buf.put_u32(ip.to_bits());
        }
        IpAddr::V6(ip) => {
            buf.put_u8(16);
            buf.put_u128(ip.to_bits());
        }
    }
    buf.put_u16(identity.at.port());
}

fn get(buf: &mut impl Buf) -> Result<Identity, WireError> {
    let id = Uuid::from_u128(buf.try_get_u128()?);
    let generation = buf.try_get_u64()?;
    let ip = match buf.try_get_u8()? {
        4 => IpAddr::V4(Ipv4Addr::from_bits(buf.try_get_u32()?)),
        16 => IpAddr::V6(Ipv6Addr::from_bits(buf.try_get_u128()?)),
        other => return Err(WireError::Unknown("length of an address", other)),
    };
    Ok(Identity { generation, at: SocketAddr::new(ip, buf.try_get_u16()?), id })
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use foca::{Codec as _, Identity as _};

    use super::*;

    fn identity(host: &str, generation: u64) -> Identity {
        Identity { generation, at: host.parse().unwrap(), id: Uuid::from_u128(7) }
    }

    #[test]
    fn every_message_comes_back_and_none_that_is_cut_short_does() {
        let (one, two) = (identity("10.0.0.1:8301", 1), identity("[2001:db8::1]:8301", u64::MAX));
        let messages = [
            Message::Ping(1),
            Message::Ack(2),
            Message::PingReq { target: two, probe_number: 3 },
            Message::IndirectPing { origin: one, probe_number: 4 },
            Message::IndirectAck { target: two, probe_number: 5 },
            Message::ForwardedAck { origin: one, probe_number: 6 },
            Message::Announce,
            Message::Feed,
            Message::Gossip,
            Message::Broadcast,
            Message::TurnUndead,
        ];
        for message in messages {
            let header = Header { src: one, src_incarnation: 9, dst: two, message };
            let mut bytes = Vec::new();
            Wire.encode_header(&header, &mut bytes).unwrap();
            assert_eq!(Wire.decode_header(&bytes[..]).unwrap(), header);
            for cut in 0..bytes.len() {
                assert!(Wire.decode_header(&bytes[..cut]).is_err(), "{header:?} cut at {cut}");
            }
        }
        for state in [State::Alive, State::Suspect, State::Down] {
            let member = Member::new(two, 8, state);
            let mut bytes = Vec::new();
            Wire.encode_member(&member, &mut bytes).unwrap();
            assert_eq!(Wire.decode_member(&bytes[..]).unwrap(), member);
            assert!(bytes.len() <= 46, "{}", bytes.len());
            assert!(Wire.decode_member(&bytes[1..]).is_err());
        }
    }

    #[test]
    fn nothing_is_written_where_there_is_no_room() {
        let mut bytes = Vec::new();
        let member = Member::alive(identity("10.0.0.1:8301", 1));
        assert!(Wire.encode_member(&member, (&mut bytes).limit(20)).is_err());
        assert!(bytes.is_empty());
    }

    #[test]
    fn the_newer_generation_wins_also_at_another_address() {
        let (old, new) = (identity("10.0.0.9:8301", 1), identity("10.0.0.1:8301", 2));
        assert!(new.win_addr_conflict(&old) && !old.win_addr_conflict(&new));
        let renewed = new.renew().unwrap();
        assert!(renewed.win_addr_conflict(&new) && renewed.addr() == new.addr());
    }
}
