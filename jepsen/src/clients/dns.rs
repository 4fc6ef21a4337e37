//! A service's instances over DNS: one datagram there, one back.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use crate::history::{Answer, Instance};

/// Room for an answer that the question offers.
const ANSWER_BYTES_MAX: u16 = 4096;

/// Asks for the SRV records of a service. The id of an instance is not in them, and stays empty.
pub(super) async fn resolve(
    server: SocketAddr,
    service: &str,
    limit: Duration,
) -> Result<Answer, String> {
    let question = question(service)?;
    let bytes = question.to_vec().map_err(|error| error.to_string())?;
    let answer = match timeout(limit, exchange(server, &bytes)).await {
        Ok(answer) => answer.map_err(|error| error.to_string())?,
        Err(_) => return Err("no answer in time".to_owned()),
    };
    let answer = Message::from_vec(&answer).map_err(|error| error.to_string())?;
    if answer.metadata.id != question.metadata.id {
        return Err("the answer to another question".to_owned());
    }
    instances(&answer)
}

fn question(service: &str) -> Result<Message, String> {
    let name = format!("{service}.service.consul.");
    let name = Name::from_ascii(&name).map_err(|error| format!("{name}: {error}"))?;
    let mut question = Message::query();
    question.add_query(Query::query(name, RecordType::SRV));
    let mut edns = Edns::new();
    edns.set_max_payload(ANSWER_BYTES_MAX);
    question.set_edns(edns);
    Ok(question)
}

async fn exchange(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; usize::from(ANSWER_BYTES_MAX)];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

/// The instances of an answer. A name that does not exist is a service without instances.
fn instances(answer: &Message) -> Result<Answer, String> {
    let code = answer.metadata.response_code;
    if answer.metadata.truncation {
        return Err("a cut answer".to_owned());
    }
    if code != ResponseCode::NoError && code != ResponseCode::NXDomain {
        return Err(format!("{code:?}"));
    }
    let mut instances: Vec<Instance> = Vec::new();
    for record in &answer.answers {
        if let RData::SRV(srv) = &record.data {
            let target = srv.target.to_ascii();
            let node = target.split('.').next().unwrap_or_default().to_owned();
            instances.push(Instance { node, id: String::new(), port: srv.port, passing: true });
        }
    }
    instances.sort();
    Ok(Answer::Instances { instances, store: None, age: None })
}
