//! One call between two members over TCP: the caller's offer, the reply, and the cards that the
//! other wants; each as a length (4 bytes, big-endian) and a record.

use std::io::{Error, ErrorKind, Result};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::merge::{Offer, Reply, Rest};
use crate::codec;
use crate::limits::EXCHANGE_BYTES_MAX;
use crate::seal::Halves;

/// Sends an offer and receives the reply.
pub(super) async fn ask(halves: &mut Halves, offer: &Offer) -> Result<Reply> {
    failpoint!("gossip.exchange.before_ask", Error::other);
    send(halves, offer).await?;
    receive(halves).await
}

/// Sends the cards that the other wants, and waits until it has taken them in.
pub(super) async fn finish(halves: &mut Halves, rest: &Rest) -> Result<()> {
    send(halves, rest).await?;
    receive::<()>(halves).await
}

/// Receives one record.
pub(super) async fn receive<T: DeserializeOwned>(halves: &mut Halves) -> Result<T> {
    let length = halves.reader.read_u32().await?;
    if length > EXCHANGE_BYTES_MAX {
        return Err(invalid(format!("message of {length} bytes, at most {EXCHANGE_BYTES_MAX}")));
    }
    let mut bytes = Vec::new();
    // What is announced is not taken on trust: the buffer grows with what arrives.
    let read = (&mut halves.reader).take(u64::from(length)).read_to_end(&mut bytes).await?;
    if u32::try_from(read).ok() != Some(length) {
        return Err(Error::from(ErrorKind::UnexpectedEof));
    }
    codec::decode(&bytes).map_err(|error| invalid(error.to_string()))
}

/// Sends one record.
pub(super) async fn send<T: Serialize>(halves: &mut Halves, record: &T) -> Result<()> {
    let bytes = codec::encode(record);
    let length = u32::try_from(bytes.len()).ok().filter(|length| *length <= EXCHANGE_BYTES_MAX);
    let length = length.ok_or_else(|| invalid("more members than a message holds".to_owned()))?;
    halves.writer.write_u32(length).await?;
    halves.writer.write_all(&bytes).await?;
    halves.writer.flush().await
}

fn invalid(why: String) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}
