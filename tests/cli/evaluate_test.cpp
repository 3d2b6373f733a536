// tweedie evaluate.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>

#include "run.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"
#include "tweedie/io/files.h"

namespace tweedie::testing {
namespace {

class Evaluate : public ::testing::Test {
 protected:
  void SetUp() override {
    make_model(scratch / "m", 0, "", 3);
    make_model(scratch / "classes", 3, "", 3);
    make_model(scratch / "grey");
  }
  Outcome tweedie(const std::string& args) { return run("evaluate " + args, scratch.path()); }
  Json json_of(const std::string& args) {
    const Outcome outcome = tweedie(args + " --json");
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.code == 0 ? Json::parse(outcome.out) : Json::object();
  }
  void refuses(const std::string& args, const std::vector<std::string>& words) {
    testing::expect_mistake("evaluate " + args, words, scratch.path());
  }
  Scratch scratch;
};

TEST_F(Evaluate, SaysEverythingInJsonAndTheSameEveryTime) {
  const std::string args = "m --data shapes:8 --n 12 --t-per-image 4";
  const Json json = json_of(args);
  for (const char* key : {"bpd", "bpd_stderr", "bpd_prior", "bpd_vlb", "bpd_decoder", "bpd_method",
                          "n", "t_per_image", "bpd_estimator_stderr", "timesteps"})
    EXPECT_TRUE(json.contains(key)) << key;
  EXPECT_EQ(json["n"], 12);
  EXPECT_EQ(json["t_per_image"], 4);
  EXPECT_EQ(json["bpd_vlb"].size(), 1000u);
  EXPECT_GT(json["bpd"], 5);  // an untrained network knows nothing
  EXPECT_EQ(json_of(args)["bpd"], json["bpd"]);
  EXPECT_NE(json_of(args + " --seed 1")["bpd"], json["bpd"]);
  EXPECT_NEAR(json_of(args + " --batch 5")["bpd"].get<double>(), json["bpd"].get<double>(),
              1e-4 * json["bpd"].get<double>());
}

TEST_F(Evaluate, PrintsTheTableAndDrawsTheTerms) {
  const Outcome outcome = tweedie(
      "m --data shapes:8 --n 4 --steps 20 --exact --estimator mc --plot terms.png --out e.json");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* words : {"20 of 1000 steps", "all t", "L_T", "L_0", "bits/dim", "standard error",
                            "variance by one draw", "wrote terms.png", "wrote e.json"})
    EXPECT_NE(outcome.out.find(words), std::string::npos) << words << "\n" << outcome.out;
  EXPECT_TRUE(std::filesystem::exists(scratch / "terms.png"));
  const Json json = read_json(scratch / "e.json");
  EXPECT_EQ(json["variance_ratio"].size(), 20u);
  EXPECT_TRUE(json["bpd_estimator_stderr"].is_null());
  double sum = json["bpd_prior"];
  for (const Json& term : json["bpd_vlb"]) sum += term.get<double>();
  EXPECT_NEAR(sum, json["bpd"].get<double>(), 1e-9 * sum);
}

TEST_F(Evaluate, RefusesWhatDoesNotFit) {
  refuses("m", {"--data"});
  refuses("m --data shapes:8 --metrics bpd,fidd", {"'fidd'", "bpd"});
  refuses("m --data shapes:8 --t-per-image 3", {"3", "even"});
  refuses("m --data shapes:8 --n -1", {"-1"});
  refuses("m --data shapes:8 --steps 2000", {"2000", "1..1000"});
  refuses("m --data shapes:8 --variance learned_range", {"learned_range", "learned variance"});
  refuses("m --data shapes:8 --variance tiny", {"tiny", "fixed_small"});
  refuses("m --data shapes:8 --estimator exact", {"exact", "closed"});
  refuses("m --data shapes:8 --labels some", {"some", "none"});
  refuses("m --data nowhere", {"nowhere"});
  refuses("m --data shapes:8 --plot terms.gif", {"terms.gif"});
  refuses("nobody --data shapes:8", {"nobody"});
}

}  // namespace
}  // namespace tweedie::testing
