//! `/v1/coordinate`: where nodes lie in the network. Source: Consul HTTP API, "Coordinate".

use axum::http::StatusCode;
use serde_json::Value;

use crate::limits::NAME_BYTES_MAX;
use crate::model::{Answer, Command, Coordinate, DIMENSIONS, NodeCoordinate, Query, Read, Real};

use super::call::{Call, Discovery, Outcome, Output, wrong_answer};
use super::error::Failure;
use super::json::{self, Fields};
use super::wire::{CoordinateJson, DatacenterCoordinatesJson};

/// Bytes of a body that says where a node lies.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// How unsure a node is that has measured nothing. Source: Consul, "Network Coordinates".
const ERROR_AT_FIRST: f64 = 1.5;
/// The height of a node that has measured nothing, in seconds. Source: as above.
const HEIGHT_AT_FIRST: f64 = 1e-5;

/// `PUT /v1/coordinate/update`. Consul collects updates for five seconds; here one is stored when
/// the answer goes. A node that is not registered is passed over, as Consul does.
pub(super) async fn update(mut call: Call) -> Outcome {
    call.check_datacenter()?;
    let body = call.body(BODY_BYTES_MAX, "limits").await?;
    let value = json::parse(&body).map_err(|text| Failure::decode(&text))?;
    let (update, datacenter) = parse(&value)?;
    call.own_datacenter(&datacenter)?;
    let written = call.write(Command::CoordinateUpdate(vec![update])).await?;
    Ok(Output::empty().written(written.index))
}

/// What a body says, and the data center that it names.
pub(super) fn parse(value: &Value) -> Result<(NodeCoordinate, String), Failure> {
    let decode = |text: String| Failure::decode(&text);
    let mut fields = Fields::of(value, "structs.CoordinateUpdateRequest").map_err(decode)?;
    let datacenter = fields.text("Datacenter").map_err(decode)?;
    let node = fields.text("Node").map_err(decode)?;
    let segment = fields.text("Segment").map_err(decode)?;
    let given = fields.take("Coord");
    fields.ignore(&["Token", "WriteRequest", "Namespace", "Partition"]);
    fields.finish().map_err(decode)?;
    if node.len() > NAME_BYTES_MAX || segment.len() > NAME_BYTES_MAX {
        return Err(Failure::bad(format!("a name is at most {NAME_BYTES_MAX} bytes long")));
    }
    let coordinate = coordinate(given)?;
    Ok((NodeCoordinate { node, segment, coordinate }, datacenter))
}

/// A coordinate. One with another number of dimensions, or none at all, is Consul's
/// "incompatible": there a body without one ends the connection.
fn coordinate(given: Option<&Value>) -> Result<Coordinate, Failure> {
    let decode = |text: String| Failure::decode(&text);
    let incompatible = || Failure::internal("incompatible coordinate");
    let given = given.ok_or_else(incompatible)?;
    let mut fields = Fields::of(given, "coordinate.Coordinate").map_err(decode)?;
    let parts = fields.list("Vec").map_err(decode)?;
    let parts: Vec<Real> =
        parts.iter().map(|part| real(Some(part), "Vec")).collect::<Result<_, _>>()?;
    let error = real(fields.take("Error"), "Error")?;
    let adjustment = real(fields.take("Adjustment"), "Adjustment")?;
    let height = real(fields.take("Height"), "Height")?;
    fields.finish().map_err(decode)?;
    let vec = <[Real; DIMENSIONS]>::try_from(parts).map_err(|_parts| incompatible())?;
    Ok(Coordinate { vec, error, adjustment, height })
}

/// A number, 0 when absent.
fn real(value: Option<&Value>, name: &str) -> Result<Real, Failure> {
    let Some(value) = value else { return Ok(Real::default()) };
    let number = value.as_f64().and_then(Real::of);
    number.ok_or_else(|| Failure::decode(&json::mismatch(value, name, "float64")))
}

/// `GET /v1/coordinate/nodes`, of one segment where the caller names it.
pub(super) async fn nodes(call: Call) -> Outcome {
    let read = read(&call, Query::Coordinates).await?;
    let found = of_segment(&call, &read);
    Ok(call.read_json(&found, &read))
}

/// `GET /v1/coordinate/node/<node>`.
pub(super) async fn node(call: Call) -> Outcome {
    let read = read(&call, Query::NodeCoordinates(call.rest.clone())).await?;
    let found = of_segment(&call, &read);
    if found.is_empty() {
        return Ok(Output::empty().status(StatusCode::NOT_FOUND));
    }
    Ok(call.read_json(&found, &read))
}

async fn read(call: &Call, query: Query) -> Result<Read, Failure> {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter().map_err(Failure::indexed)?;
    call.read(query, &plan).await.map_err(|why| Failure::from(why).indexed())
}

fn of_segment<'a>(call: &Call, read: &'a Read) -> Vec<CoordinateJson<'a>> {
    let Answer::Coordinates(all) = &*read.answer else { wrong_answer() };
    let segment = call.params.get("segment");
    let found = all.iter().filter(|one| segment.is_none_or(|segment| one.segment == segment));
    found.map(|one| CoordinateJson::of(one)).collect()
}

/// `GET /v1/coordinate/datacenters`: this one, with its servers. A server that nobody said
/// anything of lies where a node lies that has measured nothing: at the origin.
pub(super) async fn datacenters(call: Call) -> Outcome {
    let plan = call.read_plan(Discovery::No)?;
    call.check_datacenter()?;
    let servers = call.client().status().await?.servers;
    let names: Vec<String> = servers.into_iter().map(|server| server.name).collect();
    let known = call.read(Query::CoordinatesOf(names.clone()), &plan).await?;
    let Answer::Coordinates(known) = &*known.answer else { wrong_answer() };
    let place = |name: String| {
        let found = known.iter().find(|one| one.segment.is_empty() && one.node == name);
        let coordinate = found.map_or_else(origin, |one| one.coordinate);
        NodeCoordinate { node: name, segment: String::new(), coordinate }
    };
    let places: Vec<NodeCoordinate> = names.into_iter().map(place).collect();
    Ok(call.json(&[DatacenterCoordinatesJson::of(&call.options.datacenter, &places)]))
}

fn origin() -> Coordinate {
    let real = |number| Real::of(number).unwrap_or_default();
    Coordinate {
        error: real(ERROR_AT_FIRST),
        height: real(HEIGHT_AT_FIRST),
        ..Coordinate::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tried(value: &Value) -> Result<NodeCoordinate, (u16, String)> {
        parse(value)
            .map(|(update, _)| update)
            .map_err(|failure| (failure.status.as_u16(), failure.text.into_owned()))
    }

    #[test]
    fn a_coordinate_has_eight_dimensions() {
        let whole = json!({"Node": "a", "segment": "x",
            "Coord": {"Vec": [1, 2, 3, 4, 5, 6, 7, 8.5], "Error": 1.5, "Height": 1e-5}});
        let update = tried(&whole).unwrap();
        assert_eq!((update.node.as_str(), update.segment.as_str()), ("a", "x"));
        let found = update.coordinate;
        assert_eq!(found.vec[7], Real::of(8.5).unwrap());
        assert_eq!((found.height, found.adjustment), (Real::of(1e-5).unwrap(), Real::default()));
        for (value, status, text) in [
            (json!({"Node": "a", "Coord": {"Vec": [1, 2]}}), 500, "incompatible coordinate"),
            (json!({"Node": "a"}), 500, "incompatible coordinate"),
            (json!({"Bogus": 1}), 400, "Request decode failed: json: unknown field \"Bogus\""),
            (
                json!({"Node": "a", "Coord": {"Vec": ["x"]}}),
                400,
                "Request decode failed: json: cannot unmarshal string into Go struct field .Vec \
                 of type float64",
            ),
        ] {
            assert_eq!(tried(&value), Err((status, text.to_owned())));
        }
    }
}
