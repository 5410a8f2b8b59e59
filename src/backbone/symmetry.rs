//! Permutation symmetries: units of a network that may change places without changing what it computes.
//!
//! A unit is a channel that some layers make and others read: permuting the rows that make it and the columns that
//! read it alike leaves the network's function as it is. Norms, relus, pools and GELU treat all units alike.

use nn::init::{Init, Parameter};

/// Units that may change places. They may come in groups, as the heads of an attention do: groups change places as
/// wholes, and the units of a group among themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symmetry {
    /// Number of groups; 1 where any unit may take the place of any other.
    pub groups: usize,
    /// Sets of units of each group. The units of one set move together at all of its places, those of another set
    /// (values beside queries and keys) move on their own.
    pub sets: Vec<Units>,
}

/// A set of units: how many a group has, and where they occur.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Units {
    /// Units of a group.
    pub size: usize,
    /// Where they occur.
    pub places: Vec<Place>,
}

/// Where units occur: unit `j` of group `g` at the index `start + g · size + j` of an axis of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the tensor.
    pub tensor: String,
    /// Its dimension that runs over the units.
    pub axis: usize,
    /// Index of the first unit.
    pub start: usize,
    /// What the tensor is.
    pub role: Role,
}

/// What a tensor is in a symmetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Learned: it tells how alike two units are.
    Learned,
    /// A running statistic: it moves along.
    Statistic,
    /// The classifier, which a network may lack.
    Head,
}

impl From<Units> for Symmetry {
    /// Units of which any may take the place of any other.
    fn from(units: Units) -> Self {
        Self { groups: 1, sets: vec![units] }
    }
}

impl Units {
    /// The outputs of a layer, with its bias and the norm that follows it alone.
    pub fn of(parameters: &[Parameter]) -> Self {
        Self::new(parameters[0].shape[0]).made_by(parameters, 0)
    }

    /// So many units, without places yet.
    pub fn new(size: usize) -> Self {
        Self { size, places: Vec::new() }
    }

    /// Also where they are made: the first dimension of these parameters, of a layer or a norm, from the index `start`.
    pub fn made_by(mut self, parameters: &[Parameter], start: usize) -> Self {
        self.add(parameters, 0, start, Role::Learned);
        self
    }

    /// Also where they are read: the second dimension of a layer's weight, from the index `start`.
    pub fn read_by(mut self, parameters: &[Parameter], start: usize) -> Self {
        self.add(parameters, 1, start, Role::Learned);
        self
    }

    /// Also where the classifier reads them, from the index `start`.
    pub fn read_by_head(mut self, parameters: &[Parameter], start: usize) -> Self {
        self.add(parameters, 1, start, Role::Head);
        self
    }

    /// Also the last dimension of tokens `[1, tokens, channels]` that are learned as such.
    pub fn in_tokens(mut self, parameters: &[Parameter]) -> Self {
        self.add(parameters, 2, 0, Role::Learned);
        self
    }

    /// An axis of the parameters that have it.
    fn add(&mut self, parameters: &[Parameter], axis: usize, start: usize, role: Role) {
        for parameter in parameters.iter().filter(|parameter| parameter.shape.len() > axis) {
            let role = if matches!(parameter.init, Init::Buffer(_)) { Role::Statistic } else { role };
            self.places.push(Place { tensor: parameter.name.clone(), axis, start, role });
        }
    }
}
