//! Messages on a stream: two bytes of length, then the message. Source: RFC 1035, section 4.2.2.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The next message, of at most `most` bytes; nothing where the stream ended before it.
///
/// Dropped midway, the stream is of no more use.
pub(super) async fn read(stream: &mut TcpStream, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 2];
    match stream.read_exact(&mut length).await {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let length = usize::from(u16::from_be_bytes(length));
    if length > most {
        let text = format!("a message of {length} bytes, of at most {most}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).await?;
    Ok(Some(message))
}

/// Sends one message. Returns once the system has taken it.
pub(super) async fn write(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let Ok(length) = u16::try_from(message.len()) else {
        let text = format!("a message of {} bytes, of at most {}", message.len(), u16::MAX);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    };
    let mut framed = Vec::with_capacity(message.len() + 2);
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}
