//! `accumulate`: the mean of the gradients of several batches.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::optimizer::in_place::{self, CHUNK};
use nn::{StateDict, cuda};

/// The batches since the last optimizer step.
#[derive(Default)]
pub(super) struct Accumulated {
    /// Sum of gradients, each times its share of the images.
    pub(super) gradients: StateDict,
    /// Number of batches.
    pub(super) batches: usize,
    /// Number of their images.
    pub(super) images: usize,
}

impl Accumulated {
    /// Adds the gradients of a batch.
    ///
    /// # Errors
    /// A tensor operation failed.
    pub(super) fn add(&mut self, images: usize, gradients: StateDict) -> Result<()> {
        self.batches += 1;
        self.images += images;
        for (name, gradient) in gradients {
            match self.gradients.get_mut(&name) {
                Some(sum) => add(sum, &gradient)?,
                None if cuda::serves(&gradient) => drop(self.gradients.insert(name, gradient)),
                None => drop(self.gradients.insert(name, gradient.contiguous()?)),
            }
        }
        Ok(())
    }
}

fn add(sum: &mut Tensor, gradient: &Tensor) -> Result<()> {
    if !in_place::applies_to(sum) {
        *sum = (&*sum + gradient)?;
        return Ok(());
    }
    in_place::change_by(sum, &gradient.contiguous()?, |sum, gradient| {
        let chunks = sum.par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
        chunks.for_each(|(sum, gradient)| sum.iter_mut().zip(gradient).for_each(|(sum, new)| *sum += new));
    })
}
