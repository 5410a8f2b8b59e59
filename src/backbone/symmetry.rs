//! Permutation symmetries: units of a network that can be permuted without changing its function.
//!
//! A unit is a channel that some layers produce and others read: applying the same permutation to the rows that produce
//! it and to the columns that read it leaves the function unchanged. Norms, ReLU, pools and GELU treat all units alike.

use nn::init::{Init, Parameter};

/// Units that can be permuted. They may form groups, like attention heads: whole groups are permuted, and the units
/// within each group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symmetry {
    /// Number of groups; 1 if any two units can be swapped.
    pub groups: usize,
    /// Sets of units of each group. The units of one set are permuted alike wherever they occur; different sets (values
    /// as opposed to queries and keys) are permuted independently.
    pub sets: Vec<Units>,
}

/// A set of units: the number per group, and where they occur.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// Number of units per group.
    pub size: usize,
    /// The tensor axes along which they occur.
    pub places: Vec<Place>,
}

/// An occurrence of units: unit `j` of group `g` is at index `start + g · size + j` of an axis of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the tensor.
    pub tensor: String,
    /// Dimension of the tensor that runs over the units.
    pub axis: usize,
    /// Index of the first unit.
    pub start: usize,
    /// Role of the tensor.
    pub role: Role,
}

/// Role of a tensor in a symmetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A learned parameter, which enters the similarity of two units.
    Learned,
    /// A running statistic, which is only permuted.
    Statistic,
    /// The classifier, which may be absent.
    Head,
}

impl Place {
    /// Whether the tensor reads the units: they are the inputs of its layer, not the outputs.
    pub fn is_read(&self) -> bool {
        self.axis == 1
    }
}

impl From<Units> for Symmetry {
    /// A symmetry in which any two units can be swapped.
    fn from(units: Units) -> Self {
        Self { groups: 1, sets: vec![units] }
    }
}

impl Units {
    /// The outputs of a layer, including its bias and the norm that follows only this layer.
    pub fn outputs_of(parameters: &[Parameter]) -> Self {
        Self::new(parameters[0].shape[0]).made_by(parameters, 0)
    }

    /// `size` units without occurrences.
    pub fn new(size: usize) -> Self {
        Self { size, places: Vec::new() }
    }

    /// Adds the first dimension of these parameters, of a layer or norm that produces the units, from index `start`.
    pub fn made_by(mut self, parameters: &[Parameter], start: usize) -> Self {
        self.add(parameters, 0, start, Role::Learned);
        self
    }

    /// Adds the second dimension of the weight of a layer that reads the units, from index `start`.
    pub fn read_by(mut self, parameters: &[Parameter], start: usize) -> Self {
        self.add(parameters, 1, start, Role::Learned);
        self
    }

    /// Adds the second dimension of the classifier's weight, from index `start`.
    pub fn read_by_head(mut self, parameters: &[Parameter], start: usize) -> Self {
        self.add(parameters, 1, start, Role::Head);
        self
    }

    /// Adds the last dimension of learned tokens `[1, tokens, channels]`.
    pub fn in_tokens(mut self, parameters: &[Parameter]) -> Self {
        self.add(parameters, 2, 0, Role::Learned);
        self
    }

    /// Adds an axis of all parameters that have it.
    fn add(&mut self, parameters: &[Parameter], axis: usize, start: usize, role: Role) {
        for parameter in parameters.iter().filter(|parameter| parameter.shape.len() > axis) {
            let role = if matches!(parameter.init, Init::Buffer(_)) { Role::Statistic } else { role };
            self.places.push(Place { tensor: parameter.name.clone(), axis, start, role });
        }
    }
}
