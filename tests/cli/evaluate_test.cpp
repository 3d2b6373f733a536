// tweedie evaluate.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <regex>
#include <sstream>

#include "run.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"
#include "tweedie/io/files.h"
#include "tweedie/io/image.h"

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
  for (const char* words :
       {"20 of 1000 steps", "all t", "L_T", "2..3 ", "4..10 ", "11..20 ", "L_0", "bits/dim",
        "standard error", "variance by one draw", "wrote terms.png", "wrote e.json"})
    EXPECT_NE(outcome.out.find(words), std::string::npos) << words << "\n" << outcome.out;
  EXPECT_TRUE(std::filesystem::exists(scratch / "terms.png"));
  const Json json = read_json(scratch / "e.json");
  EXPECT_EQ(json["variance_ratio"].size(), 20u);
  EXPECT_TRUE(json["bpd_estimator_stderr"].is_null());
  double sum = json["bpd_prior"];
  for (const Json& term : json["bpd_vlb"]) sum += term.get<double>();
  EXPECT_NEAR(sum, json["bpd"].get<double>(), 1e-9 * sum);
  double rows = 0;
  const std::regex row(R"((\d+)\.\.(\d+) +([0-9.]+))");
  for (std::sregex_iterator it(outcome.out.begin(), outcome.out.end(), row), end; it != end; ++it)
    rows += std::stod((*it)[3]);
  const double outside = json["bpd_prior"].get<double>() + json["bpd_decoder"].get<double>();
  EXPECT_NEAR(rows + outside, sum, 2e-4) << "of all t the printed rows add up\n" << outcome.out;
  const std::string how = "need not add up";
  EXPECT_EQ(outcome.out.find(how), std::string::npos) << "of all t they do add up";
  EXPECT_NE(tweedie("m --data shapes:8 --n 2 --t-per-image 2").out.find(how), std::string::npos);
}

TEST_F(Evaluate, WritesARowOfTheTableForEachT) {
  const Json json =
      json_of("m --data shapes:8 --n 4 --steps 20 --t-per-image 2 --estimator mc --table t.csv");
  const auto cell = [](const Json& value) {
    return value.is_null() ? std::string() : formatted("{}", value.get<double>());
  };
  std::istringstream lines(read_file(scratch / "t.csv"));
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "t,bits_per_dim,draws,variance_ratio");
  int64_t k = 0, empty = 0;
  for (; std::getline(lines, line); ++k) {
    ASSERT_LT(k, 20);
    const int64_t draws = json["bpd_draws"][k].get<int64_t>();
    EXPECT_EQ(line, formatted("{},{},{},{}", k + 1, cell(json["bpd_vlb"][k]), draws,
                              cell(json["variance_ratio"][k])));
    empty += draws == 0;
  }
  EXPECT_EQ(k, 20);
  EXPECT_GT(empty, 0) << "8 draws for 20 steps";
}

// Of its own data a model is judged by what its training held out, also where that is not 5 %.
TEST_F(Evaluate, TakesWhatTheTrainingHeldOut) {
  const auto trained_on = [&](const Json& data) {
    Json card = read_json(scratch / "grey/tweedie.json");
    card["config"] = {{"data", data}};
    write_file(scratch / "grey/tweedie.json", card.dump());
  };
  refuses("grey", {"--data", "grey", "never seen"});
  std::filesystem::create_directories(scratch / "pictures");
  for (int i = 0; i < 40; ++i)
    write_image(scratch / formatted("pictures/{}.png", i),
                {8, 8, 1, std::vector<uint8_t>(64, static_cast<uint8_t>(5 * i))});
  trained_on({{"source", "folder:pictures"}, {"holdout", 0.5}});
  const Json own = json_of("grey --t-per-image 2");
  EXPECT_GT(own["n"], 10);
  EXPECT_LT(own["n"], 30);
  EXPECT_NE(own["bpd_method"].get<std::string>().find("folder:pictures@test"), std::string::npos);
  EXPECT_EQ(json_of("grey --t-per-image 2 --data folder:pictures")["bpd"], own["bpd"]);
  trained_on({{"source", "folder:pictures@all"}});
  refuses("grey", {"--data", "never seen"});
}

TEST_F(Evaluate, ARespacedChainHasABoundOfItsOwn) {
  const Json json = json_of("m --data shapes:8 --n 2 --spacing 4,6 --exact");
  EXPECT_EQ(json["bpd_vlb"].size(), 10u);
  EXPECT_EQ(json["timesteps"].front(), 0);
  EXPECT_EQ(json["timesteps"].back(), 999);
  EXPECT_NE(json["bpd_method"].get<std::string>().find("10 of 1000 steps (4,6)"),
            std::string::npos);
}

TEST_F(Evaluate, RefusesWhatDoesNotFit) {
  refuses("m", {"--data"});
  refuses("m --data shapes:8 --metrics bpd,fidd", {"'fidd'", "bpd"});
  refuses("m --data shapes:8 --t-per-image 3", {"3", "even"});
  refuses("m --data shapes:8 --n -1", {"--n -1"});
  refuses("m --data shapes:8 --out q.csv --table q.csv", {"q.csv", "--out", "--table"});
  refuses("m --data shapes:8 --steps 2000", {"2000", "1..1000"});
  refuses("m --data shapes:8 --variance learned_range", {"learned_range", "learned variance"});
  refuses("m --data shapes:8 --variance tiny", {"tiny", "fixed_small"});
  refuses("m --data shapes:8 --estimator exact", {"exact", "closed"});
  refuses("m --data shapes:8 --labels some", {"some", "none"});
  refuses("m --data nowhere", {"nowhere"});
  refuses("m --data shapes:8 --plot terms.gif", {"terms.gif"});
  refuses("nobody --data shapes:8", {"nobody"});
  refuses("m --data shapes:8 --table terms.txt", {"terms.txt", ".csv"});
}

TEST_F(Evaluate, RefusesAFlagThatWouldChangeNothing) {
  const std::string args = "m --data shapes:8 ";
  refuses(args + "--spacing trailing", {"--spacing trailing", "--steps"});
  refuses(args + "--spacing 4,6 --steps 20", {"--steps 20", "10"});
  refuses(args + "--exact --t-per-image 4", {"--t-per-image 4", "--exact"});
  for (const std::string flag :
       {"--ode-steps 20", "--divergence exact", "--probes 2", "--dequantise uniform"})
    refuses(args + flag, {flag.substr(0, flag.find(' ')), "bpd_ode"});
  for (const std::string flag : {"--t-per-image 4", "--exact", "--estimator mc", "--steps 20",
                                 "--plot terms.png", "--table terms.csv"})
    refuses(args + "--metrics bpd_ode " + flag, {flag.substr(0, flag.find(' ')), "metric bpd,"});
  refuses(args + "--metrics bpd_ode --divergence exact --probes 3", {"--probes 3", "hutchinson"});
}

}  // namespace
}  // namespace tweedie::testing
