//! The simulated host keeps the contract that the native one keeps.

use std::path::Path;

use tenure::host::{FileKind, conformance};
use tenure_sim::host::{Sim, replace_world, with_world};
use tenure_sim::world::World;
use tenure_sim::world::fs::Fs;

#[test]
fn the_simulated_host_conforms() {
    for (reuse, durable) in [(true, false), (false, true)] {
        for (name, case) in conformance::cases::<Sim>() {
            println!("{name}");
            replace_world(World::new(Fs::new(reuse, durable)));
            let process = with_world(|world| {
                world.fs.in_place = vec!["f".into()];
                let directory = world.fs.make(0, FileKind::Directory, 0o755);
                let place = world.fs.place(Path::new("/d")).expect("a path from the root");
                world.fs.enter(&place, directory).expect("an empty root");
                let link = world.fs.make(0, FileKind::Symlink, 0o777);
                world.fs.at_mut(link).target = "target".into();
                let place = world.fs.place(Path::new("/d/link")).expect("a path below the root");
                world.fs.enter(&place, link).expect("an empty directory");
                world.spawn(0)
            });
            case(&Sim { process }, Path::new("/d"));
        }
    }
}
