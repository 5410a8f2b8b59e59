//! Device class and number type: what the same operations may round differently on.

/// The number type of products on a GPU. Weights, sums and everything else stay f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Precision {
    /// f32 throughout.
    #[default]
    F32,
    /// Factors of all matrix products and convolutions rounded to 10 fraction bits, by tensor cores.
    Tf32,
    /// Factors and results of convolutions and linear layers rounded to bf16 (7 fraction bits); attention stays f32.
    Bf16,
}

/// What the same operations may round differently on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numerics {
    /// Any CPU, f32.
    Cpu,
    /// Any CUDA device, products of this precision.
    Cuda(Precision),
}

impl Numerics {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::Cpu, Self::Cuda(Precision::F32), Self::Cuda(Precision::Tf32), Self::Cuda(Precision::Bf16)];

    /// As it enters the fingerprint: `cpu-f32`, `cuda-f32`, `cuda-tf32`, …
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu-f32",
            Self::Cuda(Precision::F32) => "cuda-f32",
            Self::Cuda(Precision::Tf32) => "cuda-tf32",
            Self::Cuda(Precision::Bf16) => "cuda-bf16",
        }
    }
}
