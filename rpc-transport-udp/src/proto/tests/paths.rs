//! Paths that change: what they take, where they begin, who writes on them. The cases' numbers are
//! those of `spec/cases.md`.

use std::time::Duration;

use super::world::{Client, Config, Faults, Habits, World};

const SECOND: Duration = Duration::from_secs(1);

/// A world with one client that makes calls of up to 40 large frames.
fn busy_world(seed: u64, calls: usize) -> World {
    let config = Config { frames_max: 40, ..Config::DEFAULT };
    let mut world = World::new(seed, config);
    let habits = Habits { calls, width: 64, pause: Duration::ZERO };
    world.add_client(Faults::NONE, Faults::NONE, habits);
    world
}

#[test]
fn a_path_that_takes_smaller_datagrams_than_before_is_found_out() {
    for seed in 0..3 {
        let mut world = busy_world(seed, 1500);
        let is_raised = world.run_until(SECOND * 2, |world| {
            let end = world.clients[0].end();
            end.is_some_and(|end| end.session.inspect().datagram_bytes == 1452)
        });
        assert!(is_raised, "probes find what the path takes");
        world.clients[0].up.faults.bytes_max = 1300;
        world.clients[0].down.faults.bytes_max = 1300;
        let at = world.now;
        assert!(world.run_until(SECOND * 60, |world| world.clients[0].is_finished()));
        assert!(world.now - at < SECOND * 20, "it took {:?}", world.now - at);
        world.finish();
        world.check_calls();
        assert!(world.clients.iter().all(|client: &Client| client.losses.is_empty()));
    }
}
