//! Hosts reach each other until the way is cut, and only that way is.

use portolan_jepsen::lab::cuts::{Cut, End};

use crate::harness::{network, passes, socket};

#[test]
fn a_cut_is_one_way_and_heals() {
    let Some(network) = network("a_cut_is_one_way_and_heals", 3) else { return };
    let hosts: Vec<_> = network.hosts().iter().map(socket).collect();
    let client = socket(network.client());
    let ends = || hosts.iter().chain([&client]);
    for from in ends() {
        for to in ends() {
            assert!(passes(from, to), "{from:?} to {to:?} before any cut");
        }
    }
    network.set_cut(&Cut::one_way(&[End::Host(0)], &[End::Host(1), End::Client])).unwrap();
    assert!(!passes(&hosts[0], &hosts[1]));
    assert!(!passes(&hosts[0], &client));
    assert!(passes(&hosts[1], &hosts[0]));
    assert!(passes(&client, &hosts[0]));
    assert!(passes(&hosts[0], &hosts[2]));
    // The next cut is in the place of this one.
    network.set_cut(&Cut::two_way(&[End::Host(2)], &[End::Host(1)])).unwrap();
    assert!(passes(&hosts[0], &hosts[1]));
    assert!(!passes(&hosts[1], &hosts[2]) && !passes(&hosts[2], &hosts[1]));
    network.heal().unwrap();
    assert!(passes(&hosts[1], &hosts[2]) && passes(&hosts[2], &hosts[1]));
}

#[test]
fn a_cut_of_a_host_that_is_not_there_is_an_error() {
    let name = "a_cut_of_a_host_that_is_not_there_is_an_error";
    let Some(network) = network(name, 1) else { return };
    let cut = Cut::two_way(&[End::Host(0)], &[End::Host(1)]);
    assert!(network.set_cut(&cut).unwrap_err().to_string().contains("no host 1"));
}
