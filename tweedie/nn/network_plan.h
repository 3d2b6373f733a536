// How a network's 3x3 convolutions are computed, decided once and kept, so that what was trained
// with it goes on with the same arithmetic.
#pragma once
#include <string>
#include <vector>

#include "tweedie/core/options.h"
#include "tweedie/core/progress.h"
#include "tweedie/nn/layer_list.h"

namespace tweedie {

struct PlannedConv {
  int64_t in = 1, out = 1, height = 1, width = 1;  ///< of the output
  std::string algorithm = "stock";

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("in", self.in, "channels of the input", at_least(1));
    field("out", self.out, "channels of the output", at_least(1));
    field("height", self.height, "of the output", at_least(1));
    field("width", self.width, "of the output", at_least(1));
    field("algorithm", self.algorithm, "of all convolutions of this shape",
          one_of({"stock", "winograd"}));
  }
};

struct NetworkPlan {
  int64_t version = kConvPlanVersion;
  std::string instruction_set;  ///< that it was made for
  bool measured = false;        ///< on the machine; else by plan_conv3x3_training
  std::vector<PlannedConv> convolutions;

  /// "by rule (version 1, avx512): 8 shapes by Winograd, 2 stock"
  std::string describe() const;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("version", self.version, "of the rule");
    field("instruction_set", self.instruction_set, "that it was made for");
    field("measured", self.measured, "on the machine; else by the rule");
    field("convolutions", self.convolutions, "each shape once, in the order of the network");
  }
};

/// plan_conv3x3_training for every shape in the network; no measurement.
NetworkPlan plan_by_rule(Network net, int64_t height, int64_t width, int64_t batch);

/// Times every shape both ways at this batch (with `gradients` forward and backward), tells each
/// result and picks the faster.
NetworkPlan plan_by_measurement(Network net, int64_t height, int64_t width, int64_t batch,
                                bool gradients, const NoticeFn& notice);

/// From now on the network computes by `plan`; shapes that it lacks by the rule.
void use_plan(Network net, const NetworkPlan& plan);

/// What differs from what this program would note on this machine: "" or one line.
std::string foreign_plan_notice(const NetworkPlan& plan);

}  // namespace tweedie
