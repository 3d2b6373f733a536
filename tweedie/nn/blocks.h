// The blocks of the U-Net: resnets, attention between them, a change of resolution at the end. Two
// mechanisms, plain and skip (NCSN++, with an RGB image beside the features), hold all block types
// of UNet2DModel.
#pragma once
#include <torch/nn/modules/container/modulelist.h>

#include <memory>
#include <string>
#include <vector>

#include "tweedie/nn/attention.h"

#include "tweedie/nn/block_types.h"
#include "tweedie/nn/resnet.h"

namespace tweedie {

/// What a block hands on beside its features.
struct Skips {
  std::vector<Tensor> features;  ///< pushed on the way down, popped on the way up
  Tensor image;                  ///< the RGB image of the skip blocks; undefined: none yet
};

/// h [N,C,H,W], time [N,temb] after the activation.
class BlockImpl : public torch::nn::Module {
 public:
  virtual Tensor forward(Tensor h, const Tensor& time, Skips& skips) const = 0;
};
using Block = std::shared_ptr<BlockImpl>;

/// Level 0 is the first in the list of its direction: the finest on the way down, the coarsest on
/// the way up.
Block make_down_block(const UNetOptions& options, int64_t level);
Block make_mid_block(const UNetOptions& options);
Block make_up_block(const UNetOptions& options, int64_t level);

}  // namespace tweedie
