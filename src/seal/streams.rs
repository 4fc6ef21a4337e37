//! Connections over TCP: a handshake under a key of the ring, then records.

use std::io;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use raft::{Halves, ReadHalf, WriteHalf};
use snow::{Builder, HandshakeState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::error::Unsealed;
use super::key::{Key, MARK_BYTES};
use super::keyring::Keyring;
use super::primitives::Primitives;
use super::records::{Opening, Sealing};
use crate::limits::SEAL_HANDSHAKE_MAX;

/// What both sides of a connection begin with. As a length it is more than any plain frame has.
const MAGIC: [u8; 4] = [0xd5, 0x9e, 0x53, 0xf5];
/// Version of the handshake and the records, behind the magic.
const VERSION: u8 = 1;
/// Both messages of the handshake: a public key and a tag.
pub(super) const MESSAGE_BYTES: usize = 48;
/// The handshake, as Noise names it.
const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";

/// Connections under a keyring. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Streams {
    keyring: Keyring,
    label: &'static str,
}

impl Streams {
    /// Connections for the use that `label` names; both sides need the same.
    pub fn new(keyring: Keyring, label: &'static str) -> Streams {
        Streams { keyring, label }
    }

    /// Prepares a connection that was opened here. Off: the connection as it is.
    ///
    /// The handshake has two seconds. A refusal is logged here, once for each address and cause.
    /// May be dropped midway, which ends the connection.
    ///
    /// # Errors
    ///
    /// The connection's, or an [`Unsealed`] inside: it is of no use, then.
    pub async fn connect(&self, stream: TcpStream) -> io::Result<Halves> {
        let keys = self.keyring.outgoing();
        let Some(key) = keys.first() else { return Ok(Halves::plain(stream)) };
        let to = stream.peer_addr()?;
        let called = within(self.call(stream, key)).await;
        called.inspect_err(|error| self.note(&to.to_string(), error))
    }

    /// Prepares a connection that was accepted here; as [`Streams::connect`] otherwise. The side
    /// that opens a connection speaks first: this waits for that, also when off.
    ///
    /// # Errors
    ///
    /// The same.
    pub async fn accept(&self, stream: TcpStream) -> io::Result<Halves> {
        let from = stream.peer_addr()?.ip();
        let answered = within(self.answer(stream)).await;
        answered.inspect_err(|error| self.note(&from.to_string(), error))
    }

    async fn call(&self, mut stream: TcpStream, key: &Key) -> io::Result<Halves> {
        let mut state = self.state(key)?.build_initiator().map_err(io::Error::other)?;
        let mut hello = [&MAGIC[..], &[VERSION], &key.mark].concat();
        hello.extend_from_slice(&written(&mut state)?);
        stream.write_all(&hello).await.map_err(ended)?;
        let mut answer = [0; MAGIC.len() + 1];
        stream.read_exact(&mut answer).await.map_err(ended)?;
        version(answer)?;
        let mut message = [0; MESSAGE_BYTES];
        stream.read_exact(&mut message).await.map_err(ended)?;
        take(&mut state, &message)?;
        halves(stream, state)
    }

    async fn answer(&self, mut stream: TcpStream) -> io::Result<Halves> {
        let keys = self.keyring.snapshot();
        if keys.is_empty() {
            return plain(stream).await;
        }
        let mut first = [0; MAGIC.len()];
        stream.read_exact(&mut first).await?;
        if first != MAGIC {
            return self.answer_plain(stream, first);
        }
        let mut head = [0; 1 + MARK_BYTES];
        stream.read_exact(&mut head).await?;
        let [its_version, mark @ ..] = head;
        if its_version != VERSION {
            return Err(refused(Unsealed::Version(its_version)));
        }
        // All of it is taken before any refusal: what is left unread would end the connection
        // by a reset, which may overtake what was said before it.
        let mut message = [0; MESSAGE_BYTES];
        stream.read_exact(&mut message).await?;
        let mut state = self.opened(&keys, mark, &message)?;
        let mut answer = [&MAGIC[..], &[VERSION]].concat();
        answer.extend_from_slice(&written(&mut state)?);
        stream.write_all(&answer).await?;
        halves(stream, state)
    }

    /// The state behind the first message, by whichever key opens it.
    pub(super) fn opened(
        &self,
        keys: &[Key],
        mark: [u8; MARK_BYTES],
        message: &[u8; MESSAGE_BYTES],
    ) -> io::Result<HandshakeState> {
        let mut failed = Unsealed::WrongKey;
        for key in keys.iter().filter(|key| key.mark == mark) {
            let mut state = self.state(key)?.build_responder().map_err(io::Error::other)?;
            match take(&mut state, message) {
                Ok(()) => return Ok(state),
                Err(_damaged) => failed = Unsealed::Damaged,
            }
        }
        Err(refused(failed))
    }

    fn answer_plain(&self, stream: TcpStream, first: [u8; MAGIC.len()]) -> io::Result<Halves> {
        if self.keyring.verify().incoming {
            return Err(refused(Unsealed::Plain));
        }
        let (reader, writer) = stream.into_split();
        let reader = io::Cursor::new(first).chain(reader);
        let reader = ReadHalf::Wrapped(Box::new(reader));
        Ok(Halves { reader, writer: WriteHalf::Plain(writer) })
    }

    /// A handshake for this use under this key: both sides prove that they know the same.
    fn state<'k>(&'k self, key: &'k Key) -> io::Result<Builder<'k>> {
        let pattern = PATTERN.parse().map_err(io::Error::other)?;
        let builder = Builder::with_resolver(pattern, Box::new(Primitives));
        let builder = builder.prologue(self.label.as_bytes()).map_err(io::Error::other)?;
        builder.psk(0, &key.secret).map_err(io::Error::other)
    }

    fn note(&self, from: &str, error: &io::Error) {
        let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<Unsealed>());
        if let Some(cause) = cause {
            self.keyring.note(from, *cause);
        }
    }
}

impl raft::Wire for Streams {
    fn connect(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Halves>> {
        let streams = self.clone();
        async move { Streams::connect(&streams, stream).await }.boxed()
    }

    fn accept(&self, stream: TcpStream) -> BoxFuture<'static, io::Result<Halves>> {
        let streams = self.clone();
        async move { Streams::accept(&streams, stream).await }.boxed()
    }
}

async fn within<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    let late = |_elapsed| io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long");
    timeout(SEAL_HANDSHAKE_MAX, work).await.map_err(late)?
}

/// A connection without encryption, unless the other side begins with it.
async fn plain(stream: TcpStream) -> io::Result<Halves> {
    let mut first = [0; MAGIC.len()];
    // Fewer bytes than these come from nobody who means well; whoever reads on will see.
    stream.peek(&mut first).await?;
    match first {
        MAGIC => Err(refused(Unsealed::NoKey)),
        _ => Ok(Halves::plain(stream)),
    }
}

fn version(head: [u8; MAGIC.len() + 1]) -> io::Result<()> {
    match head.split_last() {
        Some((&VERSION, magic)) if magic == MAGIC => Ok(()),
        Some((other, magic)) if magic == MAGIC => Err(refused(Unsealed::Version(*other))),
        _ => Err(refused(Unsealed::Plain)),
    }
}

fn written(state: &mut HandshakeState) -> io::Result<[u8; MESSAGE_BYTES]> {
    let mut message = [0; MESSAGE_BYTES];
    let length = state.write_message(&[], &mut message).map_err(io::Error::other)?;
    assert_eq!(length, MESSAGE_BYTES, "a public key and a tag");
    Ok(message)
}

fn take(state: &mut HandshakeState, message: &[u8; MESSAGE_BYTES]) -> io::Result<()> {
    let mut nothing = [0; MESSAGE_BYTES];
    let read = state.read_message(message, &mut nothing);
    read.map(drop).map_err(|_error| refused(Unsealed::Damaged))
}

fn halves(stream: TcpStream, state: HandshakeState) -> io::Result<Halves> {
    let cipher = state.into_stateless_transport_mode().map_err(io::Error::other)?;
    let cipher = Arc::new(cipher);
    let (reader, writer) = stream.into_split();
    let reader = Opening::new(reader, Arc::clone(&cipher));
    let writer = Sealing::new(writer, cipher);
    let reader = ReadHalf::Wrapped(Box::new(reader));
    Ok(Halves { reader, writer: WriteHalf::Wrapped(Box::new(writer)) })
}

fn refused(cause: Unsealed) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause)
}

/// A peer that goes away in the middle of the handshake has most likely refused it.
fn ended(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => refused(Unsealed::Ended),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use tokio::net::TcpListener;

    use super::super::keyring::Verify;
    use super::*;

    fn ring(size: usize, of: u8) -> Keyring {
        Keyring::load(Some(&STANDARD.encode(vec![of; size])), None).unwrap()
    }

    fn streams(keyring: Keyring) -> Streams {
        Streams::new(keyring, "test")
    }

    /// What both sides come to, over a real connection.
    async fn meet(caller: &Streams, listener: &Streams) -> [io::Result<Halves>; 2] {
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let called = async {
            let stream = TcpStream::connect(door.local_addr().unwrap()).await?;
            Streams::connect(caller, stream).await
        };
        let answered = async { Streams::accept(listener, door.accept().await?.0).await };
        let (called, answered) = tokio::join!(called, answered);
        [called, answered]
    }

    async fn talk([called, answered]: [io::Result<Halves>; 2]) {
        let (mut one, mut two) = (called.unwrap(), answered.unwrap());
        for length in [5, 200_000, 5, 200_000] {
            let (sent, mut heard) = (vec![7; length], vec![0; length]);
            let write = one.writer.write_all(&sent);
            let (done, read) = tokio::join!(write, two.reader.read_exact(&mut heard));
            assert_eq!((done.unwrap(), read.unwrap()), ((), length));
            assert_eq!(heard, sent);
            std::mem::swap(&mut one, &mut two);
        }
    }

    fn cause(met: &io::Result<Halves>) -> Option<Unsealed> {
        let inner = met.as_ref().err()?.get_ref()?;
        inner.downcast_ref::<Unsealed>().copied()
    }

    #[tokio::test]
    async fn who_shares_a_key_may_speak() {
        for size in [16, 24, 32] {
            talk(meet(&streams(ring(size, 1)), &streams(ring(size, 1))).await).await;
        }
        let both = ring(16, 1);
        both.install(&ring(32, 2).keys()[0]).unwrap();
        talk(meet(&streams(ring(32, 2)), &streams(both)).await).await;
    }

    #[tokio::test]
    async fn who_does_not_is_refused_and_both_sides_know_why() {
        let (one, other) = (streams(ring(16, 1)), streams(ring(16, 2)));
        let off = streams(Keyring::off());
        let met = meet(&one, &other).await;
        assert_eq!(met.each_ref().map(cause), [Some(Unsealed::Ended), Some(Unsealed::WrongKey)]);
        let met = meet(&one, &off).await;
        assert_eq!(met.each_ref().map(cause), [Some(Unsealed::Ended), Some(Unsealed::NoKey)]);
        let elsewhere = Streams::new(ring(16, 1), "another use");
        let met = meet(&one, &elsewhere).await;
        assert_eq!(met.each_ref().map(cause), [Some(Unsealed::Ended), Some(Unsealed::Damaged)]);
    }

    #[tokio::test]
    async fn plain_text_is_refused_unless_it_may_come() {
        let strict = streams(ring(16, 1));
        let lenient = ring(16, 1).verifying(Verify { incoming: false, outgoing: false });
        let lenient = streams(lenient);
        let said = async |listener: &Streams| {
            let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut plain = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
            plain.write_all(b"hello").await.unwrap();
            let mut halves = Streams::accept(listener, door.accept().await?.0).await?;
            let mut heard = [0; 5];
            halves.reader.read_exact(&mut heard).await?;
            assert_eq!(&heard, b"hello");
            Ok(halves)
        };
        assert_eq!(cause(&said(&strict).await), Some(Unsealed::Plain));
        said(&lenient).await.unwrap();
        said(&streams(Keyring::off())).await.unwrap();
        talk(meet(&strict, &lenient).await).await;
    }

    #[tokio::test]
    async fn a_change_of_any_byte_of_the_handshake_is_refused() {
        let (one, two) = (streams(ring(16, 1)), streams(ring(16, 1)));
        let keys = one.keyring.snapshot();
        let mut state = one.state(&keys[0]).unwrap().build_initiator().unwrap();
        let mut hello = [&MAGIC[..], &[VERSION], &keys[0].mark].concat();
        hello.extend_from_slice(&written(&mut state).unwrap());
        for at in 0..=hello.len() {
            let mut changed = hello.clone();
            if let Some(byte) = changed.get_mut(at) {
                *byte ^= 4;
            }
            let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let mut stream = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
            stream.write_all(&changed).await.unwrap();
            let accepted = Streams::accept(&two, door.accept().await.unwrap().0).await;
            assert_eq!(accepted.is_ok(), at == hello.len(), "byte {at}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_may_be_slow_to_agree() {
        let door = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = TcpStream::connect(door.local_addr().unwrap()).await.unwrap();
        let began = crate::time::now();
        let accepted = Streams::accept(&streams(ring(16, 1)), door.accept().await.unwrap().0).await;
        assert_eq!(accepted.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert!(began.elapsed() >= SEAL_HANDSHAKE_MAX);
        drop(silent);
    }
}
