// What training minimises.
#pragma once
#include "tweedie/core/options.h"

namespace tweedie {

struct ObjectiveOptions {
  std::string loss = "simple";
  double label_dropout = 0;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("loss", self.loss, "simple: the mean squared error (DDPM Eq. 14)", one_of({"simple"}));
    field("label_dropout", self.label_dropout,
          "share of labels replaced by the null class, for classifier-free guidance",
          between(0, 1));
  }
};

}  // namespace tweedie
