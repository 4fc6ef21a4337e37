//! Coordinates as JSON.

use serde::Serialize;

use crate::model::{Coordinate, DIMENSIONS, NodeCoordinate};

/// The coordinate of a node.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct CoordinateJson<'a> {
    node: &'a str,
    segment: &'a str,
    coord: PlaceJson,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct PlaceJson {
    vec: [f64; DIMENSIONS],
    error: f64,
    adjustment: f64,
    height: f64,
}

impl PlaceJson {
    /// A place as every route shows it.
    pub(in crate::http) fn of(place: &Coordinate) -> Self {
        let Coordinate { vec, error, adjustment, height } = *place;
        Self {
            vec: vec.map(crate::model::Real::get),
            error: error.get(),
            adjustment: adjustment.get(),
            height: height.get(),
        }
    }
}

impl<'a> CoordinateJson<'a> {
    /// The coordinate as every route shows it.
    pub(in crate::http) fn of(one: &'a NodeCoordinate) -> Self {
        let coord = PlaceJson::of(&one.coordinate);
        Self { node: &one.node, segment: &one.segment, coord }
    }
}

/// A data center with the coordinates of its servers.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct DatacenterCoordinatesJson<'a> {
    datacenter: &'a str,
    #[serde(rename = "AreaID")]
    area_id: &'static str,
    coordinates: Vec<CoordinateJson<'a>>,
}

impl<'a> DatacenterCoordinatesJson<'a> {
    /// A data center of the wide area that all are in.
    pub(in crate::http) fn of(datacenter: &'a str, servers: &'a [NodeCoordinate]) -> Self {
        let coordinates = servers.iter().map(CoordinateJson::of).collect();
        Self { datacenter, area_id: "wan", coordinates }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::json;
    use crate::model::Real;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let real = |number| Real::of(number).unwrap();
        let mut vec = [Real::default(); DIMENSIONS];
        vec[0] = real(-0.25);
        vec[1] = real(1e-7);
        vec[2] = real(3.0);
        let coordinate =
            Coordinate { vec, error: real(1.5), adjustment: real(0.0), height: real(1e-5) };
        let one = NodeCoordinate { node: "n".into(), segment: String::new(), coordinate };
        assert_eq!(
            String::from_utf8(json::bytes(&CoordinateJson::of(&one), false)).unwrap(),
            concat!(
                r#"{"Node":"n","Segment":"","Coord":{"Vec":[-0.25,1e-7,3,0,0,0,0,0],"#,
                r#""Error":1.5,"Adjustment":0,"Height":0.00001}}"#,
            )
        );
    }
}
