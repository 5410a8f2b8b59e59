// Every kernel, in one piece.
#include "batch_norm.cu"
#include "elementwise.cu"
#include "pool.cu"
#include "training.cu"
#include "transformer.cu"
