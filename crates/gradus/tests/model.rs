//! Model files: what is saved is what is loaded; damaged ones are refused; sessions of a shared model agree on all threads.

mod common;

use std::path::PathBuf;

use common::{disk, disk_net, on};
use gradus::Registry;
use gradus::exec::cpu::Isa;
use gradus::model::ModelFile;
use gradus::prelude::*;
use gradus::train::{Flow, Settings};
use indexmap::IndexMap;
use ndarray::ArrayD;

fn trained() -> (Net, gradus::data::Split) {
    let mut split = disk(200);
    let normalisation = split.normalise().unwrap();
    let graph = disk_net(&["Linear 12", "Tanh", "Linear 2"], "CrossEntropyLoss");
    let mut net = on(&graph, Isa::detect(), 1);
    net.normalisation = Some(normalisation);
    net.fit(&split.train, &Settings { epochs: 5, batch: 20, ..Settings::default() }, |_| Flow::Continue).unwrap();
    (net, split)
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn send_sync<T: Send + Sync>() {}

#[test]
fn models_and_sessions_cross_threads() {
    send_sync::<Model>();
    send_sync::<Session>();
}

#[test]
fn what_is_saved_is_what_is_loaded() {
    let (mut net, split) = trained();
    let file = path("saved.safetensors");
    net.save(&file).unwrap();
    let mut again = Net::load(&file).unwrap();
    assert_eq!(
        net.params().iter().map(|p| &p.value).collect::<Vec<_>>(),
        again.params().iter().map(|p| &p.value).collect::<Vec<_>>()
    );
    assert_eq!(net.evaluate(&split.test).unwrap(), again.evaluate(&split.test).unwrap());
    // The same content is the same bytes.
    let bytes = std::fs::read(&file).unwrap();
    again.save(path("again.safetensors")).unwrap();
    assert_eq!(bytes, std::fs::read(path("again.safetensors")).unwrap());

    // Raw input through a session is prepared input through the network.
    let raw = disk(200);
    let model = Model::from_bytes(&bytes).unwrap();
    let want = net.predict(&split.test.all()).unwrap().to_array();
    let x = raw.test.inputs["points"].as_slice().unwrap();
    for batch in [1, 7, 1000] {
        assert_eq!(model.session(batch).predict(x).unwrap().to_array(), want, "in batches of {batch}");
    }
    let prepared = split.test.inputs["points"].as_slice().unwrap();
    assert_eq!(model.session(8).predict_prepared(prepared).unwrap().to_array(), want);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| assert_eq!(model.session(16).predict(x).unwrap().to_array(), want));
        }
    });
}

#[test]
fn training_goes_on_from_a_file() {
    let (mut net, split) = trained();
    let file = path("go-on.safetensors");
    net.save(&file).unwrap();
    let mut again = Net::load(&file).unwrap();
    let more = Settings { epochs: 2, batch: 20, shuffle: false, ..Settings::default() };
    let losses = [&mut net, &mut again].map(|n| n.fit(&split.train, &more, |_| Flow::Continue).unwrap().epochs[1].loss);
    assert_eq!(losses[0].to_bits(), losses[1].to_bits());
}

#[test]
fn a_file_of_another_network_is_refused_whole() {
    let (net, _) = trained();
    let good = net.to_file(&IndexMap::new());
    let refused = |change: &dyn Fn(&mut ModelFile)| {
        let mut file = good.clone();
        change(&mut file);
        let mut other = on(&disk_net(&["Linear 12", "Tanh", "Linear 2"], "CrossEntropyLoss"), Isa::detect(), 1);
        let before = other.to_file(&IndexMap::new());
        let error = other.load_weights(&file).unwrap_err().to_string();
        assert_eq!(before, other.to_file(&IndexMap::new()), "nothing is loaded");
        error
    };
    assert!(refused(&|f| drop(f.tensors.shift_remove("net.2.bias"))).contains("`net.2.bias` (2) is missing"));
    let wrong = refused(&|f| drop(f.tensors.insert("net.2.bias".into(), (vec![3], vec![0.0; 3]))));
    assert!(wrong.contains("`net.2.bias` is (3), the network needs (2)"), "{wrong}");
    assert!(refused(&|f| drop(f.tensors.insert("net.9.bias".into(), (vec![3], vec![0.0; 3])))).contains("net.9.bias"));
}

#[test]
fn no_damage_is_loaded_and_none_panics() {
    let bytes = trained().0.to_file(&IndexMap::new()).to_bytes().unwrap();
    for cut in 0..bytes.len() {
        assert!(ModelFile::from_bytes(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    for at in 0..header {
        for flip in [1, 0x20, 0x80] {
            let mut damaged = bytes.clone();
            damaged[at] ^= flip;
            // A letter of a name may change without harm to the format: what loads must then fit or be refused.
            if let Ok(file) = ModelFile::from_bytes(&damaged) {
                let _ = Net::from_file(&file, &Registry::new(), 1);
                let _ = Model::from_file(file, &Registry::new());
            }
        }
    }
    assert!(ModelFile::from_bytes(b"PK\x03\x04 not a model").unwrap_err().to_string().contains("not a model file"));
}

#[test]
fn predictions_of_wrong_shapes_are_refused() {
    let (net, _) = trained();
    let model = Model::from_file(net.to_file(&IndexMap::new()), &Registry::new()).unwrap();
    assert!(model.session(4).predict(&[1.0, 2.0, 3.0]).unwrap_err().to_string().contains("no whole samples of (2)"));
    assert!(model.session(4).predict(&[]).is_err());
    let error = model.session(4).predict_array(&ArrayD::zeros(vec![5, 3]), false).unwrap_err().to_string();
    assert!(error.contains("samples of (2), found an array (5, 3)"), "{error}");
}

#[test]
fn a_network_built_without_data_keeps_their_normalisation() {
    let mut split = disk(100);
    let raw = split.test.inputs["points"].clone();
    let mut net = Sequential::new([2]).add(Linear::new(2)).loss(MSELoss::new()).build(Seed(1)).unwrap();
    net.normalisation = Some(split.normalise().unwrap());
    let want = net.predict(&split.test.all()).unwrap().to_array();
    let model = Model::from_file(net.to_file(&IndexMap::new()), &Registry::new()).unwrap();
    // The network calls its input `x`, the data call theirs `points`.
    assert_eq!(model.session(8).predict(raw.as_slice().unwrap()).unwrap().to_array(), want);
}

#[test]
fn hostile_files_are_refused_at_once() {
    let good = trained().0.to_file(&IndexMap::new());
    let refused = |change: &dyn Fn(&mut ModelFile)| {
        let mut file = good.clone();
        change(&mut file);
        let file = ModelFile::from_bytes(&file.to_bytes().unwrap()).unwrap();
        let error = Net::from_file(&file, &Registry::new(), 1).map(drop).unwrap_err().to_string();
        assert_eq!(Model::from_file(file, &Registry::new()).map(drop).unwrap_err().to_string(), error);
        error
    };
    for shape in [vec![], vec![0], vec![usize::MAX, 2], vec![1 << 40, 1 << 40]] {
        let error = refused(&|f| f.meta.schema.inputs[0].shape.clone_from(&shape));
        assert!(error.contains("input `points`: a sample of"), "{error}");
    }
    // Weights of gigabytes that the file does not hold: no memory is asked for.
    let layer = |f: &mut ModelFile, n: usize| {
        drop(f.meta.architecture.branches[0].layers[0].args.insert("out_features".into(), n.into()))
    };
    let error = refused(&|f| layer(f, 40_000_000));
    assert!(error.contains("`net.0.weight` is (12, 2), the network needs (40000000, 2)"), "{error}");
    for (mean, sd) in [(0, 0), (2, 1), (3, 3), (1, 1)] {
        let scale = gradus::data::Scale { mean: vec![0.0; mean], sd: vec![1.0; sd] };
        let error =
            refused(&|f| drop(f.meta.normalisation.as_mut().unwrap().inputs.insert("points".into(), scale.clone())));
        assert!(error.contains("the scale of input `points` is not 2 means"), "{error}");
    }
    let error = refused(&|f| f.meta.normalisation.as_mut().unwrap().inputs["points"].sd[1] = 0.0);
    assert!(error.contains("the scale of input `points`"), "{error}");
}

#[test]
fn a_loss_inside_of_a_branch_is_scored_where_it_is() {
    let data = disk(50).train;
    let mut a = gradus::net::Architecture::default();
    a.branches.insert("net".into(), common::branch(&["points"], &["Linear 2", "Linear 2"]));
    a.losses.insert("end".into(), common::loss("net", "inside", "CrossEntropyLoss", 1.0));
    a.losses.insert("tap".into(), common::loss("net:0", "inside", "CrossEntropyLoss", 1.0));
    let graph = gradus::net::Graph::resolve(&a, &data.schema(), &Registry::new()).unwrap();
    let mut net = on(&graph, Isa::detect(), 1);
    // The end says the opposite of the tap.
    let minus = ArrayD::from_shape_vec(vec![2, 2], vec![-1.0, 0.0, 0.0, -1.0]).unwrap();
    net.set_param("net.1.weight", &minus).unwrap();
    net.set_param("net.1.bias", &ArrayD::zeros(vec![2])).unwrap();
    let of = net.evaluate(&data).unwrap().of;
    assert_eq!(of["end"].error, of["tap"].accuracy);
}
