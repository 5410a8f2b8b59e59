//! The canonical form of a transformer, on which orthogonal maps and permutations act; see [`glmc`](super).

use std::collections::BTreeMap;

use backbone::stream::{ResidualStream, StreamBlock};
use candle_core::{DType, Device, Result, Tensor, bail};
use nn::StateDict;

use super::units::Units;
use crate::NamedTensors;
use crate::combination::combination;

/// A transformer in canonical form, in f64 on the CPU.
#[derive(Clone)]
pub(super) struct Network {
    /// Number of channels of the stream.
    pub(super) channels: usize,
    /// Tensors that only the stream's map acts on, as rows `[n, channels]`: embeddings, biases of layers that write to
    /// the stream, and the classifier.
    pub(super) fixed: BTreeMap<String, Tensor>,
    /// The classifier's bias, if there is a classifier.
    pub(super) head_bias: Option<Tensor>,
    /// The blocks, from input to output.
    pub(super) blocks: Vec<Block>,
}

/// The units of a block.
#[derive(Clone)]
pub(super) struct Block {
    pub(super) heads: Vec<Head>,
    /// Hidden units of the MLP.
    pub(super) hidden: Units,
}

/// An attention head.
#[derive(Clone)]
pub(super) struct Head {
    /// Queries, with their bias, and keys.
    pub(super) qk: Units,
    /// Values and what is written of them, without biases.
    pub(super) ov: Units,
}

impl Network {
    /// The canonical form of a model, with its classifier if asked for.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or contains values that are not finite.
    pub(super) fn read(source: &dyn NamedTensors, stream: &ResidualStream, head: bool) -> Result<Self> {
        let (channels, fixed) = (stream.channels, BTreeMap::new());
        let mut network = Self { channels, fixed, head_bias: None, blocks: Vec::new() };
        for token in &stream.tokens {
            network.fix(token.clone(), &read(source, token)?.flatten_to(1)?)?;
        }
        let [patches, bias] = layer(source, &stream.patches)?;
        network.fix(weight(&stream.patches), &patches.flatten_from(1)?.t()?)?;
        network.fix(self::bias(&stream.patches), &bias.unsqueeze(0)?)?;
        for block in &stream.blocks {
            let block = network.read_block(source, block)?;
            network.blocks.push(block);
        }
        if head {
            let [weights, bias] = folded(source, &stream.norm, &stream.head)?;
            network.fix(weight(&stream.head), &weights)?;
            network.head_bias = Some(bias);
        }
        Ok(network)
    }

    /// Add rows that only the stream's map acts on.
    fn fix(&mut self, name: String, rows: &Tensor) -> Result<()> {
        self.fixed.insert(name, centered(rows)?);
        Ok(())
    }

    fn read_block(&mut self, source: &dyn NamedTensors, block: &StreamBlock) -> Result<Block> {
        let [qkv, qkv_bias] = folded(source, &block.norm1, &block.qkv)?;
        let [output, output_bias] = layer(source, &block.projection)?;
        let width = output.dim(1)?;
        let size = width / block.heads.max(1);
        let (qkv, written) = (centered(&qkv)?, centered(&output.t()?)?);
        let head = |head: usize| {
            let part = |part: usize| qkv.narrow(0, part * width + head * size, size);
            let bias = qkv_bias.narrow(0, head * size, size)?.unsqueeze(1)?;
            let ov = [part(2)?, written.narrow(0, head * size, size)?];
            Ok(Head {
                ov: Units { sides: ov, bias: bias.zeros_like()? }.balanced()?,
                qk: Units { sides: [part(0)?, part(1)?], bias }.balanced()?,
            })
        };
        let heads = (0..block.heads).map(head).collect::<Result<_>>()?;
        let of_values = output.matmul(&qkv_bias.narrow(0, 2 * width, width)?.unsqueeze(1)?)?;
        self.fix(bias(&block.projection), &(output_bias.unsqueeze(0)? + of_values.t()?)?)?;
        let [fc1, fc1_bias] = folded(source, &block.norm2, &block.fc1)?;
        let [fc2, fc2_bias] = layer(source, &block.fc2)?;
        self.fix(bias(&block.fc2), &fc2_bias.unsqueeze(0)?)?;
        let sides = [centered(&fc1)?, centered(&fc2.t()?)?];
        Ok(Block { heads, hidden: Units { sides, bias: fc1_bias.unsqueeze(1)? } })
    }

    /// The network after the map Q of the stream.
    pub(super) fn rotated(&self, stream: &Tensor) -> Result<Self> {
        let transposed = stream.t()?;
        let fixed = self.fixed.iter().map(|(name, rows)| Ok((name.clone(), rows.matmul(&transposed)?)));
        let blocks = self.blocks.iter().map(|Block { heads, hidden }| {
            let heads = heads
                .iter()
                .map(|head| Ok(Head { qk: head.qk.rotated(stream)?, ov: head.ov.rotated(stream)? }));
            Ok(Block { heads: heads.collect::<Result<_>>()?, hidden: hidden.rotated(stream)? })
        });
        Ok(Self {
            channels: self.channels,
            fixed: fixed.collect::<Result<_>>()?,
            head_bias: self.head_bias.clone(),
            blocks: blocks.collect::<Result<_>>()?,
        })
    }

    /// Σ ⟨a, b⟩ over the tensors of two networks.
    pub(super) fn inner_product(&self, other: &Self) -> Result<f64> {
        let (mine, others) = (self.tensors(), other.tensors());
        mine.iter().zip(others).map(|(a, b)| (*a * b)?.sum_all()?.to_scalar::<f64>()).sum()
    }

    /// All tensors, in a fixed order.
    fn tensors(&self) -> Vec<&Tensor> {
        let units = self.units().flat_map(|units| units.sides.iter().chain([&units.bias]));
        self.fixed.values().chain(&self.head_bias).chain(units).collect()
    }

    /// The units of all blocks.
    pub(super) fn units(&self) -> impl Iterator<Item = &Units> {
        self.blocks
            .iter()
            .flat_map(|block| block.heads.iter().flat_map(|head| [&head.qk, &head.ov]).chain([&block.hidden]))
    }

    /// The weights of the canonical form, in the shapes, types and on the devices of a model.
    ///
    /// # Errors
    /// The model is of another backbone.
    pub(super) fn weights(&self, like: &dyn NamedTensors, stream: &ResidualStream) -> Result<StateDict> {
        let mut written = Written { like, tensors: StateDict::new() };
        for (name, rows) in &self.fixed {
            // rows of a convolution are input weights; those of other tensors are rows
            written.put(name, &if *name == weight(&stream.patches) { rows.t()? } else { rows.clone() })?;
        }
        if let Some(bias) = &self.head_bias {
            written.put(&self::bias(&stream.head), bias)?;
        }
        for (Block { heads, hidden }, block) in self.blocks.iter().zip(&stream.blocks) {
            let cat =
                |part: &dyn Fn(&Head) -> Tensor| Tensor::cat(&heads.iter().map(part).collect::<Vec<_>>(), 0);
            let [queries, keys] = [0, 1].map(|side| cat(&|head: &Head| head.qk.sides[side].clone()));
            let [values, output] = [0, 1].map(|side| cat(&|head: &Head| head.ov.sides[side].clone()));
            let bias = cat(&|head: &Head| head.qk.bias.clone())?;
            let zeros = bias.zeros_like()?;
            written.put(&weight(&block.qkv), &Tensor::cat(&[queries?, keys?, values?], 0)?)?;
            written.put(&self::bias(&block.qkv), &Tensor::cat(&[&bias, &zeros, &zeros], 0)?)?;
            written.put(&weight(&block.projection), &output?.t()?)?;
            written.put(&weight(&block.fc1), &hidden.sides[0])?;
            written.put(&self::bias(&block.fc1), &hidden.bias)?;
            written.put(&weight(&block.fc2), &hidden.sides[1].t()?)?;
            written.norm(&block.norm1)?;
            written.norm(&block.norm2)?;
        }
        written.norm(&stream.norm)?;
        Ok(written.tensors)
    }

    /// Σ_i c_i · N_i of two networks.
    pub(super) fn combined(terms: [(&Self, f64); 2]) -> Result<Self> {
        let [(first, a), (second, b)] = terms;
        let sum = |x: &Tensor, y: &Tensor| combination([(x, a), (y, b)]);
        let units = |x: &Units, y: &Units| -> Result<Units> {
            let sides = [sum(&x.sides[0], &y.sides[0])?, sum(&x.sides[1], &y.sides[1])?];
            Ok(Units { sides, bias: sum(&x.bias, &y.bias)? })
        };
        let fixed = first.fixed.iter().zip(second.fixed.values());
        let fixed = fixed.map(|((name, x), y)| Ok((name.clone(), sum(x, y)?)));
        let blocks = first.blocks.iter().zip(&second.blocks).map(|(x, y)| {
            let heads = x.heads.iter().zip(&y.heads);
            let heads = heads.map(|(x, y)| Ok(Head { qk: units(&x.qk, &y.qk)?, ov: units(&x.ov, &y.ov)? }));
            Ok(Block { heads: heads.collect::<Result<_>>()?, hidden: units(&x.hidden, &y.hidden)? })
        });
        let biases = first.head_bias.as_ref().zip(second.head_bias.as_ref());
        Ok(Self {
            channels: first.channels,
            fixed: fixed.collect::<Result<_>>()?,
            head_bias: biases.map(|(x, y)| sum(x, y)).transpose()?,
            blocks: blocks.collect::<Result<_>>()?,
        })
    }
}

/// The tensors of a model that is written.
struct Written<'a> {
    like: &'a dyn NamedTensors,
    tensors: StateDict,
}

impl Written<'_> {
    /// Elements in the shape, type and on the device of the tensor called `name`.
    fn put(&mut self, name: &str, elements: &Tensor) -> Result<()> {
        let Some(like) = self.like.tensor(name)? else { bail!("a model has no tensor `{name}`") };
        let tensor = elements.contiguous()?.reshape(like.shape())?.to_dtype(like.dtype())?;
        self.tensors.insert(name.to_owned(), tensor.to_device(like.device())?);
        Ok(())
    }

    /// A norm whose affine part was folded into the layer that follows.
    fn norm(&mut self, name: &str) -> Result<()> {
        for (name, value) in [(weight(name), 1.0), (bias(name), 0.0)] {
            let Some(like) = self.like.tensor(&name)? else { bail!("a model has no tensor `{name}`") };
            let tensor = like.zeros_like()?.affine(0.0, value)?;
            self.tensors.insert(name, tensor);
        }
        Ok(())
    }
}

fn weight(layer: &str) -> String {
    format!("{layer}.weight")
}

fn bias(layer: &str) -> String {
    format!("{layer}.bias")
}

/// The tensor called `name`.
fn read(source: &dyn NamedTensors, name: &str) -> Result<Tensor> {
    let Some(tensor) = source.tensor(name)? else {
        bail!("a model has no tensor `{name}`, which is needed to match its units")
    };
    let tensor = tensor.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
    if !tensor.sum_all()?.to_scalar::<f64>()?.is_finite() {
        bail!("units cannot be matched, because `{name}` contains values that are not finite");
    }
    Ok(tensor)
}

/// Weight and bias of a layer.
fn layer(source: &dyn NamedTensors, name: &str) -> Result<[Tensor; 2]> {
    Ok([read(source, &weight(name))?, read(source, &bias(name))?])
}

/// Weight and bias of the layer that follows a norm, with the norm's affine part folded in: W diag(g) and c + W b.
fn folded(source: &dyn NamedTensors, norm: &str, layer: &str) -> Result<[Tensor; 2]> {
    let ([gain, shift], [weight, bias]) = (self::layer(source, norm)?, self::layer(source, layer)?);
    let bias = (bias + weight.matmul(&shift.unsqueeze(1)?)?.squeeze(1)?)?;
    Ok([weight.broadcast_mul(&gain)?, bias])
}

/// X C: rows without their mean.
fn centered(rows: &Tensor) -> Result<Tensor> {
    rows.broadcast_sub(&rows.mean_keepdim(1)?)?.contiguous()
}
