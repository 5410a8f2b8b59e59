//! What changes many tensors at once, in one launch: optimizers and running statistics.
//!
//! Addresses and sizes of all tensors travel with the launch, so nothing is copied to the device. A captured step finds
//! what changes from step to step in a tensor: see [`Varying`].

use candle_core::{Device, Result, Tensor, bail};

use super::launch::{Launch, THREADS, address};
use super::to_be_written;

/// Tensors of a launch; the arguments of a launch have room for 32 KiB.
const SLOTS: usize = 320;
/// Elements of a block.
const PER_BLOCK: usize = THREADS * 8;

/// `Slot` in `kernels/training.cu`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Slot {
    parameter: u64,
    gradient: u64,
    first: u64,
    second: u64,
    keep: f64,
    size: f64,
    n: u64,
    until: u64,
    ci: i32,
    taps: i32,
}

/// `Slots` in `kernels/training.cu`.
#[repr(C)]
struct Slots {
    at: [Slot; SLOTS],
    count: i32,
}

/// What changes from step to step, for one parameter.
#[derive(Clone, Copy, Debug)]
pub struct Varying {
    /// Factor on the parameter before the step.
    pub keep: f64,
    /// Size of the step.
    pub size: f64,
    /// √(1 − β₂ᵗ), for Adam.
    pub correction: f64,
}

impl Varying {
    /// Those of several parameters as a tensor, f64 `[n, 3]`, in the order of `Varying` in `kernels/training.cu`.
    ///
    /// # Errors
    /// The device is out of memory.
    pub fn tensor(all: &[Self], device: &Device) -> Result<Tensor> {
        let rows = all.iter().map(|Self { keep, size, correction }| [*keep, *size, *correction]);
        Tensor::from_vec(rows.collect::<Vec<_>>().concat(), (all.len(), 3), device)
    }
}

/// A parameter to change in place.
#[derive(Clone, Copy)]
pub struct Change<'a> {
    /// The parameter.
    pub parameter: &'a Tensor,
    /// Its gradient; that of kernels may have its input channels last in memory.
    pub gradient: &'a Tensor,
    /// Its moments, changed too; at most two.
    pub moments: &'a [Tensor],
    /// What changes from step to step; unused if a tensor has it.
    pub varying: Varying,
}

impl Change<'_> {
    fn slot(&self) -> Result<Slot> {
        self.moments.iter().chain([self.gradient]).try_for_each(|other| check_like(self.parameter, other))?;
        let moment = |i: usize| self.moments.get(i).map_or(Ok(0), address);
        let (gradient, [ci, taps]) = in_memory(self.gradient)?;
        Ok(Slot {
            parameter: address(self.parameter)?,
            gradient: address(&gradient)?,
            ci,
            taps,
            first: moment(0)?,
            second: moment(1)?,
            keep: self.varying.keep,
            size: self.varying.size,
            n: self.parameter.elem_count() as u64,
            until: 0,
        })
    }
}

/// A kernel trusts that tensors are of one type and number of elements.
fn check_like(tensor: &Tensor, other: &Tensor) -> Result<()> {
    if (tensor.dtype(), tensor.elem_count()) != (other.dtype(), other.elem_count()) {
        let [(a, b), (c, d)] = [tensor, other].map(|tensor| (tensor.dtype(), tensor.shape().clone()));
        bail!("a tensor {a:?} {b:?} cannot be changed by one of {c:?} {d:?}");
    }
    Ok(())
}

/// The gradient as optimizers take it: itself if it is contiguous or has its input channels last in memory, otherwise a
/// copy.
///
/// # Errors
/// The device is out of memory.
pub fn gradient(gradient: Tensor) -> Result<Tensor> {
    if in_memory(&gradient)?.0.is_contiguous() { Ok(gradient) } else { gradient.contiguous() }
}

/// A gradient in the order of its elements in memory, and `[ci, taps]` if it is of kernels `[co, ci, kh, kw]` with their
/// input channels last, as convolutions leave it.
fn in_memory(gradient: &Tensor) -> Result<(Tensor, [i32; 2])> {
    if gradient.is_contiguous() || gradient.rank() != 4 {
        return Ok((gradient.clone(), [1, 1]));
    }
    let (_, ci, kh, kw) = gradient.dims4()?;
    Ok((gradient.permute((0, 2, 3, 1))?, [ci as i32, (kh * kw) as i32]))
}

/// Coefficients that all parameters share, in the order of `AdamCoefficients` in `kernels/training.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Adam {
    /// Factor on the gradients.
    pub grad_scale: f64,
    /// λ of the L2 term.
    pub l2_decay: f64,
    /// 1 − β₁.
    pub take: f64,
    /// β₂.
    pub beta2: f64,
    /// √(1 − β₂ᵗ).
    pub correction: f64,
    /// ε.
    pub eps: f64,
}

/// A step of Adam or AdamW: `p = keep · p − size · m / (√v / correction + ε)`. What is [`Varying`] comes from a tensor if
/// there is one.
///
/// # Errors
/// A tensor is not contiguous, or the launch failed.
pub fn adam(changes: &[Change<'_>], coefficients: &Adam, varying: Option<&Tensor>) -> Result<()> {
    launch("adam", changes, coefficients, varying)
}

/// Coefficients that all parameters share, in the order of `SgdCoefficients` in `kernels/training.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Sgd {
    /// Factor on the gradients.
    pub grad_scale: f64,
    /// λ of the L2 term.
    pub weight_decay: f64,
    /// Factor of the velocity.
    pub momentum: f64,
    /// 1 with Nesterov momentum.
    pub nesterov: i32,
}

/// A step of stochastic gradient descent; without moments there is no momentum. What is [`Varying`] comes from a tensor
/// if there is one.
///
/// # Errors
/// A tensor is not contiguous, or the launch failed.
pub fn sgd(changes: &[Change<'_>], coefficients: &Sgd, varying: Option<&Tensor>) -> Result<()> {
    launch("sgd", changes, coefficients, varying)
}

fn launch<C>(
    kernel: &'static str,
    changes: &[Change<'_>],
    coefficients: &C,
    varying: Option<&Tensor>,
) -> Result<()> {
    let Some(first) = changes.first() else { return Ok(()) };
    let slots = changes.iter().map(Change::slot).collect::<Result<Vec<_>>>()?;
    in_tables(kernel, first.parameter, &slots, Some((coefficients, varying)))
}

/// Launches a kernel on a table of slots and, if it is an optimizer's, on coefficients and what varies of each slot;
/// several times if there are many slots.
fn in_tables<C>(
    kernel: &'static str,
    on: &Tensor,
    slots: &[Slot],
    of_optimizer: Option<(&C, Option<&Tensor>)>,
) -> Result<()> {
    for (i, slots) in slots.chunks(SLOTS).enumerate() {
        let mut table = Box::new(Slots { at: [Slot::default(); SLOTS], count: slots.len() as i32 });
        let mut blocks = 0;
        for (to, slot) in table.at.iter_mut().zip(slots) {
            blocks += (slot.n as usize).div_ceil(PER_BLOCK);
            *to = Slot { until: blocks as u64, ..*slot };
        }
        let mut launch = Launch::new(kernel, on).table(&*table);
        if let Some((coefficients, varying)) = of_optimizer {
            let varying = varying.map(|all| all.narrow(0, i * SLOTS, slots.len())).transpose()?;
            launch = launch.table(coefficients).optional(varying.as_ref())?;
        }
        launch.run([blocks.max(1), 1, 1], [THREADS, 1, 1])?;
    }
    Ok(())
}

/// Whether running statistics are changed themselves, or new ones are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The same tensors.
    InPlace,
    /// New tensors; the old ones may be shared.
    Anew,
}

/// `(1 − share) · running + share · observed` for each pair, and 1 more than each counter, in this order.
///
/// # Errors
/// A tensor is not contiguous, or the launch failed.
pub fn follow(
    running: &[(&Tensor, &Tensor)],
    counters: &[&Tensor],
    share: f64,
    into: Followed,
) -> Result<Vec<Tensor>> {
    running.iter().try_for_each(|(old, observed)| check_like(old, observed))?;
    let olds: Vec<&Tensor> = running.iter().map(|(old, _)| *old).chain(counters.iter().copied()).collect();
    let Some(on) = olds.first() else { return Ok(Vec::new()) };
    let news = match into {
        Followed::InPlace => olds.iter().map(|old| (*old).clone()).collect(),
        Followed::Anew => [new_like(&olds[..running.len()])?, new_like(counters)?].concat(),
    };
    let observed = running.iter().map(|(_, observed)| Some(*observed)).chain(counters.iter().map(|_| None));
    let slot = |((old, observed), new): ((&&Tensor, Option<&Tensor>), &Tensor)| {
        let (parameter, gradient, first) = (address(old)?, observed.map_or(Ok(0), address)?, address(new)?);
        let n = old.elem_count() as u64;
        Ok(Slot { parameter, gradient, first, keep: 1.0 - share, size: share, n, taps: 1, ..Slot::default() })
    };
    let slots = olds.iter().zip(observed).zip(&news).map(slot).collect::<Result<Vec<_>>>()?;
    in_tables::<()>("follow", on, &slots, None)?;
    Ok(news)
}

/// Tensors of these sizes, one behind the other in memory, still to be written.
fn new_like(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    let Some(first) = tensors.first() else { return Ok(Vec::new()) };
    let all =
        to_be_written(tensors.iter().map(|tensor| tensor.elem_count()).sum::<usize>(), first.dtype(), first)?;
    let mut start = 0;
    let part = |tensor: &&Tensor| {
        let part = all.narrow(0, start, tensor.elem_count())?.reshape(tensor.shape());
        start += tensor.elem_count();
        part
    };
    tensors.iter().map(part).collect()
}
