use candle_core::*;
use medmerge::backbone::{BackboneSpec, resnet::*};
use medmerge::nn::{Mode, Net, init::initial_values};
#[test]
fn bench() {
    let width: usize = std::env::var("W").unwrap_or("64".into()).parse().unwrap();
    let b = BackboneSpec::Resnet18(ResnetSpec { stem: Stem::Small, width }).build();
    let params = b.all_parameters(Some(7));
    let mut t = initial_values(&params, 0, &Device::Cpu).unwrap();
    let mut vars = vec![];
    for p in params.iter().filter(|p| p.is_trainable()) {
        let v = Var::from_tensor(&t[&p.name]).unwrap();
        t.insert(p.name.clone(), v.as_tensor().clone());
        vars.push((p.name.clone(), v));
    }
    let mut opt = medmerge::train::Optimizer::new(&Default::default(), vars).unwrap();
    let x = Tensor::randn(0f32, 1., (64, 28, 28, 3), &Device::Cpu).unwrap();
    let labels = Tensor::new((0..64u32).map(|i| i % 7).collect::<Vec<_>>(), &Device::Cpu).unwrap();
    let loss = medmerge::train::loss::CrossEntropy::new(&[1.0; 7], 0.0, &Device::Cpu).unwrap();
    for _ in 0..6 {
        let t0 = std::time::Instant::now();
        let net = Net::new(&t, Mode::Train);
        let z = b.head(7).forward(&net, &b.features(&net, &x).unwrap()).unwrap();
        let l = loss.forward(&z, &labels).unwrap();
        let t1 = t0.elapsed().as_secs_f64();
        let g = l.backward().unwrap();
        let t2 = t0.elapsed().as_secs_f64();
        opt.step(&g, 1.0, None).unwrap();
        let t3 = t0.elapsed().as_secs_f64();
        println!("fwd {:.3} bwd {:.3} opt {:.3} -> {:.1} img/s", t1, t2 - t1, t3 - t2, 64.0 / t3);
    }
}
