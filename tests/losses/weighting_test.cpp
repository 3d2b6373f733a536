#include "tweedie/losses/weighting.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/errors.h"

namespace tweedie {
namespace {

double weight(const ObjectiveOptions& options, const char* prediction, double snr) {
  return loss_weight(options, prediction, at::full({1}, snr, at::kDouble)).item<double>();
}

ObjectiveOptions weighing(const std::string& name) {
  ObjectiveOptions options;
  options.weighting = name;
  return options;
}

}  // namespace

// |eps - E|^2 = SNR |x_0 - X|^2 and |v - V|^2 = (1 + SNR) |x_0 - X|^2 at one x_t: the loss of one
// belief is the same number whatever the network was asked for.
TEST(Weighting, MeansOneLossForEveryPrediction) {
  for (const std::string& name : weightings()) {
    if (name == "none") continue;
    for (const double snr : {1e-6, 0.3, 1., 4.9, 5.1, 2e4}) {
      SCOPED_TRACE(name + " at " + std::to_string(snr));
      const ObjectiveOptions options = weighing(name);
      const double of_x0 = weight(options, "sample", snr);
      EXPECT_NEAR(weight(options, "epsilon", snr) * snr, of_x0, 1e-12 * of_x0);
      EXPECT_NEAR(weight(options, "v_prediction", snr) * (1 + snr), of_x0, 1e-12 * of_x0);
    }
  }
}

// The papers' formulas, each on the prediction that its paper writes it for.
TEST(Weighting, IsWhatThePapersPrint) {
  for (const double snr : {0.2, 1., 7., 300.}) {
    EXPECT_EQ(weight(weighing("none"), "sample", snr), 1);
    EXPECT_EQ(weight(weighing("snr"), "epsilon", snr), 1);                           // DDPM Eq. 14
    EXPECT_NEAR(weight(weighing("snr_plus_one"), "v_prediction", snr), 1, 1e-15);    // PD Sec. 4
    EXPECT_EQ(weight(weighing("truncated_snr"), "sample", snr), std::max(snr, 1.));  // PD Sec. 4
    EXPECT_EQ(weight(weighing("min_snr"), "sample", snr), std::min(snr, 5.));  // MinSNR Sec. 3.4
    ObjectiveOptions p2 = weighing("p2");
    p2.p2_gamma = 0.5, p2.p2_k = 2;
    EXPECT_NEAR(weight(p2, "epsilon", snr), 1 / std::sqrt(2 + snr), 1e-15);  // P2 Sec. 3
  }
}

TEST(Weighting, HasALimitWhereThereIsNoSignal) {
  EXPECT_EQ(weight(weighing("min_snr"), "epsilon", 0), 1);
  EXPECT_EQ(weight(weighing("truncated_snr"), "v_prediction", 0), 1);
  EXPECT_EQ(weight(weighing("p2"), "epsilon", 0), 1);
  const std::string message =
      testing::message_of([] { weight(weighing("truncated_snr"), "epsilon", 0); });
  EXPECT_TRUE(testing::contains(message, "use v_prediction")) << message;
}

TEST(Weighting, RefusesUnknownNames) {
  EXPECT_TRUE(testing::contains(
      testing::message_of([] { weight(weighing("minsnr"), "epsilon", 1); }), "min_snr"));
  EXPECT_TRUE(testing::contains(testing::message_of([] { weight(weighing("snr"), "epsilo", 1); }),
                                "epsilon"));
}

}  // namespace tweedie
