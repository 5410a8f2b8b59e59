//! Reverse-mode differentiation: a tape of the operators of a forward pass.
//!
//! candle's own autograd allocates zeros for the gradient of every tensor, adds to them, and keeps every activation
//! until the end. Here the first gradient of a tensor is moved, later ones are added in place, and what an operator
//! kept for its gradient is freed as soon as that is computed. Nothing is kept for values that need no gradient.

use std::cell::RefCell;
use std::rc::Rc;

use candle_core::{CpuStorage, DType, InplaceOp2, Layout, Result, Tensor, Var, bail};

use super::cpu::add_in_place;
use super::cuda;

/// A tensor in a forward pass. If its gradient is needed, a tape records how it was computed.
#[derive(Clone)]
pub struct Value {
    tensor: Tensor,
    node: Option<Node>,
}

/// A position on a tape.
#[derive(Clone)]
struct Node {
    tape: Tape,
    index: usize,
}

/// The operators of one forward pass, in order.
#[derive(Clone, Default)]
pub struct Tape(Rc<RefCell<Vec<Entry>>>);

struct Entry {
    inputs: Vec<Option<usize>>,
    /// `None` for a leaf.
    backward: Option<Backward>,
}

/// Maps the gradient of an operator's output to those of its inputs, in order; `None` where not needed. It may reuse
/// the memory of its argument; nothing else may hold the tensors that it returns.
type Backward = Box<dyn FnOnce(Tensor) -> Result<Vec<Option<Tensor>>>>;

/// The gradients of a tape's leaves.
pub struct Gradients(Vec<Option<Tensor>>);

impl Tape {
    /// A tensor with gradient.
    pub fn leaf(&self, tensor: Tensor) -> Value {
        self.push(tensor, Entry { inputs: Vec::new(), backward: None })
    }

    fn push(&self, tensor: Tensor, entry: Entry) -> Value {
        let mut entries = self.0.borrow_mut();
        entries.push(entry);
        Value { tensor, node: Some(Node { tape: self.clone(), index: entries.len() - 1 }) }
    }
}

impl Value {
    /// A tensor without gradient.
    pub fn constant(tensor: Tensor) -> Self {
        Self { tensor, node: None }
    }

    /// The output of an operator, and its backward pass. If no input needs a gradient, `backward` is dropped with all
    /// that it holds.
    pub fn result(
        tensor: Tensor,
        inputs: &[&Value],
        backward: impl FnOnce(Tensor) -> Result<Vec<Option<Tensor>>> + 'static,
    ) -> Self {
        let Some(node) = inputs.iter().find_map(|input| input.node.as_ref()) else {
            return Self::constant(tensor);
        };
        let of_one_tape = |other: &Node| Rc::ptr_eq(&node.tape.0, &other.tape.0);
        assert!(
            inputs.iter().flat_map(|input| &input.node).all(of_one_tape),
            "an operator on values of two tapes"
        );
        let indices = inputs.iter().map(|input| input.node.as_ref().map(|node| node.index));
        let entry = Entry { inputs: indices.collect(), backward: Some(Box::new(backward)) };
        node.tape.push(tensor, entry)
    }

    /// The output of candle operators; candle computes the gradient.
    ///
    /// # Errors
    /// `operators` failed.
    pub fn composed(inputs: &[&Value], operators: impl FnOnce(&[Tensor]) -> Result<Tensor>) -> Result<Self> {
        if inputs.iter().all(|input| !input.is_tracked()) {
            let tensors: Vec<Tensor> = inputs.iter().map(|input| input.tensor.clone()).collect();
            return Ok(Self::constant(operators(&tensors)?));
        }
        let variable = |input: &&Value| -> Result<Option<Var>> {
            input.is_tracked().then(|| Var::from_tensor(&input.tensor)).transpose()
        };
        let variables = inputs.iter().map(variable).collect::<Result<Vec<_>>>()?;
        let tensor = |(input, variable): (&&Value, &Option<Var>)| match variable {
            Some(variable) => variable.as_tensor().clone(),
            None => input.tensor.clone(),
        };
        let y = operators(&inputs.iter().zip(&variables).map(tensor).collect::<Vec<_>>())?;
        Ok(Self::result(y.detach(), inputs, move |gy| {
            let gradients = (y * gy)?.sum_all()?.backward()?;
            let of = |variable: &Option<Var>| Some(gradients.get(variable.as_ref()?)?.detach());
            Ok(variables.iter().map(of).collect())
        }))
    }

    /// The underlying tensor.
    pub fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Length of each dimension.
    pub fn dims(&self) -> &[usize] {
        self.tensor.dims()
    }

    /// Whether a gradient is needed.
    pub fn is_tracked(&self) -> bool {
        self.node.is_some()
    }

    /// The same elements in another shape.
    ///
    /// # Errors
    /// The number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        let before = self.tensor.shape().clone();
        let back = move |gy: Tensor| Ok(vec![Some(gy.reshape(before)?)]);
        Ok(Self::result(self.tensor.reshape(shape)?, &[self], back))
    }

    /// The same elements in another type.
    ///
    /// # Errors
    /// candle cannot make the tensor.
    pub fn cast(&self, dtype: DType) -> Result<Self> {
        let before = self.tensor.dtype();
        if dtype == before {
            return Ok(self.clone());
        }
        let back = move |gy: Tensor| Ok(vec![Some(cuda::cast(&gy, before)?)]);
        Ok(Self::result(cuda::cast(&self.tensor, dtype)?, &[self], back))
    }

    /// Backward pass: the gradients of all leaves that this value depends on, given its own gradient, which may be
    /// modified in place and must not be used elsewhere. The tape is consumed.
    ///
    /// # Errors
    /// The gradient has another shape, the tape was already consumed, or an operator failed.
    pub fn backward(&self, gradient: Tensor) -> Result<Gradients> {
        let Some(node) = &self.node else { return Ok(Gradients(Vec::new())) };
        if gradient.shape() != self.tensor.shape() {
            bail!(
                "a gradient of shape {:?} for a value of shape {:?}",
                gradient.shape(),
                self.tensor.shape()
            );
        }
        let mut entries = node.tape.0.take();
        if entries.is_empty() {
            bail!("the gradients of this tape were already taken");
        }
        let mut gradients: Vec<Option<Tensor>> = entries.iter().map(|_| None).collect();
        gradients[node.index] = Some(gradient);
        while let Some(entry) = entries.pop() {
            let Some(backward) = entry.backward else { continue };
            let Some(gradient) = gradients[entries.len()].take() else { continue };
            for (input, gradient) in entry.inputs.into_iter().zip(backward(gradient)?) {
                if let Some((index, gradient)) = input.zip(gradient) {
                    add_to(&mut gradients[index], gradient)?;
                }
            }
        }
        Ok(Gradients(gradients))
    }
}

impl Gradients {
    /// The gradient of a leaf; `None` if the value does not depend on it.
    pub fn take(&mut self, leaf: &Value) -> Option<Tensor> {
        self.0.get_mut(leaf.node.as_ref()?.index)?.take()
    }
}

fn add_to(sum: &mut Option<Tensor>, more: Tensor) -> Result<()> {
    match sum {
        None => *sum = Some(more),
        Some(sum) if !cuda::serves(sum) && sum.is_contiguous() && more.is_contiguous() => {
            sum.inplace_op2(&more, &Add)?;
        }
        Some(sum) if cuda::serves(sum) && sum.is_contiguous() => {
            cuda::elementwise::add_in_place(sum, &more.contiguous()?)?;
        }
        Some(before) => *sum = Some((&*before + more)?),
    }
    Ok(())
}

struct Add;

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add_in_place"
    }

    fn cpu_fwd(&self, sum: &mut CpuStorage, sl: &Layout, more: &CpuStorage, ml: &Layout) -> Result<()> {
        let (Some((from, to)), Some((start, end))) = (sl.contiguous_offsets(), ml.contiguous_offsets())
        else {
            bail!("gradients to add are not contiguous");
        };
        match (sum, more) {
            (CpuStorage::F32(sum), CpuStorage::F32(more)) => {
                add_in_place(&mut sum[from..to], &more[start..end]);
            }
            (CpuStorage::F64(sum), CpuStorage::F64(more)) => {
                add_in_place(&mut sum[from..to], &more[start..end]);
            }
            _ => bail!("gradients to add are of different types"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn numbers(values: &[f64]) -> Tensor {
        Tensor::new(values, &Device::Cpu).unwrap()
    }

    fn times(x: &Value, y: &Value) -> Value {
        Value::composed(&[x, y], |t| &t[0] * &t[1]).unwrap()
    }

    #[test]
    fn gradients_of_every_path_are_added() {
        let tape = Tape::default();
        let (x, y) = (tape.leaf(numbers(&[2.0, 3.0])), tape.leaf(numbers(&[5.0, 7.0])));
        let unused = tape.leaf(numbers(&[1.0]));
        // x²y + x
        let square = times(&times(&x, &x), &y);
        let sum = Value::composed(&[&square, &x], |t| &t[0] + &t[1]).unwrap();
        let mut gradients = sum.backward(numbers(&[1.0, 10.0])).unwrap();
        assert_eq!(gradients.take(&x).unwrap().to_vec1::<f64>().unwrap(), [21.0, 430.0]);
        assert_eq!(gradients.take(&y).unwrap().to_vec1::<f64>().unwrap(), [4.0, 90.0]);
        assert!(gradients.take(&unused).is_none());
    }

    #[test]
    fn nothing_is_kept_where_no_gradient_is_needed() {
        let x = Value::constant(numbers(&[2.0]));
        let kept = Rc::new(());
        let held = kept.clone();
        let y = Value::result(numbers(&[4.0]), &[&x], move |_| {
            let _held = held;
            Ok(vec![None])
        });
        assert!(!y.is_tracked());
        assert_eq!(Rc::strong_count(&kept), 1);
    }
}
