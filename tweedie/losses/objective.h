// What training minimises: its options.
#pragma once
#include "tweedie/core/options.h"

namespace tweedie {

inline std::vector<std::string> weightings() {
  return {"none", "snr", "snr_plus_one", "truncated_snr", "min_snr", "p2"};
}
inline std::vector<std::string> t_samplers() {
  return {"uniform", "stratified", "loss_second_moment", "log_normal", "logit_normal"};
}

struct ObjectiveOptions {
  std::string loss = "simple";
  std::string distance = "l2";
  double huber_delta = 0.1;
  std::string weighting = "none";
  double min_snr_gamma = 5, p2_gamma = 1, p2_k = 1;
  double vlb_weight = 1e-3;
  std::string t_sampler = "uniform";
  std::optional<double> t_mean, t_std;
  double label_dropout = 0;

  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("loss", self.loss,
          "simple: the error of the prediction (DDPM Eq. 14); vlb: the variational bound; hybrid: "
          "simple, and the bound for the variance alone (IDDPM Eq. 16)",
          one_of({"simple", "vlb", "hybrid"}));
    field("distance", self.distance, "of the prediction from its target; huber is d^2/2 near 0",
          one_of({"l2", "l1", "huber"}));
    field("huber_delta", self.huber_delta, "where huber turns linear", between(1e-9, 1e9));
    field("weighting", self.weighting,
          "over t, of simple; none: the error of the prediction; the others weigh |x_0 - X|^2, "
          "the same loss for every prediction",
          one_of(weightings()));
    field("min_snr_gamma", self.min_snr_gamma, "min_snr: the SNR counts at most this",
          between(1e-9, 1e9));
    field("p2_gamma", self.p2_gamma, "p2: 0 is no weighting, 1 the paper's strongest",
          between(0, 10));
    field("p2_k", self.p2_k, "p2: added to the SNR", between(1e-9, 1e9));
    field("vlb_weight", self.vlb_weight,
          "hybrid: lambda, times the T of the process (IDDPM Eq. 16)", at_least(0));
    field(
        "t_sampler", self.t_sampler,
        "loss_second_moment draws by the size of the loss, unbiased (IDDPM Eq. 18); log_normal "
        "(of sigma/alpha, the step nearest to it; EDM) and logit_normal (of t/T) weigh by drawing",
        one_of(t_samplers()));
    field("t_mean", self.t_mean, "log_normal (-1.2) and logit_normal (0): mean of the normal");
    field("t_std", self.t_std, "log_normal (1.2) and logit_normal (1): its standard deviation",
          between(1e-9, 1e3));
    field("label_dropout", self.label_dropout,
          "share of labels replaced by the null class, for classifier-free guidance",
          between(0, 1));
  }
};

}  // namespace tweedie
