#include "tweedie/core/options.h"

#include <gtest/gtest.h>

namespace tweedie {
namespace {

struct Inner {
  int64_t steps = 10;
  std::optional<int64_t> head_dim = 8;
  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("steps", self.steps, "how many", at_least(1));
    field("head_dim", self.head_dim, "null is one head");
  }
};
struct Outer {
  Inner train;
  std::string mode = "linear";
  std::vector<double> betas;
  template <class Self, class Field>
  static void visit(Self& self, Field&& field) {
    field("train", self.train, "inner");
    field("mode", self.mode, "which", one_of({"linear", "cosine"}));
    field("betas", self.betas, "a list");
  }
};

std::string message_of(const std::string& json) {
  Outer o;
  try {
    from_json(Json::parse(json), o);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), Error::Kind::kUser);
    return e.what();
  }
  return "";
}

}  // namespace

TEST(Options, RoundTripsThroughJson) {
  Outer o;
  from_json(Json::parse(R"({"train": {"steps": 5}, "betas": [0.1, 1]})"), o);
  EXPECT_EQ(o.train.steps, 5);
  EXPECT_EQ(to_json(o).dump(),
            R"({"train":{"steps":5,"head_dim":8},"mode":"linear","betas":[0.1,1.0]})");
}

TEST(Options, NullIsNotMissing) {
  Outer o;
  from_json(Json::parse(R"({"train": {"head_dim": null}})"), o);
  EXPECT_FALSE(o.train.head_dim.has_value());
  from_json(Json::parse(R"({"train": {}})"), o);
  EXPECT_FALSE(o.train.head_dim.has_value());
  EXPECT_EQ(Outer{}.train.head_dim, 8);
}

TEST(Options, MessagesNameTheKeyTheValueAndTheChoices) {
  EXPECT_EQ(message_of(R"({"train": {"stpes": 5}})"),
            "unknown config key 'train.stpes'; did you mean train.steps? known: train.steps, "
            "train.head_dim");
  EXPECT_EQ(message_of(R"({"mode": "cosin"})"),
            "unknown mode 'cosin'; did you mean cosine? known: linear, cosine");
  EXPECT_EQ(message_of(R"({"train": {"steps": "many"}})"),
            "[config] train.steps: expected a whole number, got \"many\"");
  EXPECT_EQ(message_of(R"({"train": {"steps": 0}})"),
            "[config] train.steps: 0 is below the least value, 1");
  EXPECT_EQ(message_of(R"({"train": {"steps": 1.5}})"),
            "[config] train.steps: expected a whole number, got 1.5");
}

TEST(Options, ANameOfAnotherProgramIsTranslated) {
  EXPECT_EQ(unknown_message("schedule", "cosine", {"linear", "squaredcos_cap_v2"}),
            "unknown schedule 'cosine'; did you mean squaredcos_cap_v2? known: linear, "
            "squaredcos_cap_v2");
  EXPECT_EQ(nearest("cosine", {"linear", "cosin"}), "cosin") << "only where it is known";
}

TEST(Options, SetTakesADottedPathAndJsonOrText) {
  Outer o;
  set_field(o, "train.steps=7");
  set_field(o, "mode=cosine");
  set_field(o, "train.head_dim=null");
  EXPECT_EQ(o.train.steps, 7);
  EXPECT_EQ(o.mode, "cosine");
  EXPECT_FALSE(o.train.head_dim.has_value());
  EXPECT_THROW(set_field(o, "nonsense"), Error);
}

TEST(Options, FieldsAreDescribedWithTheChoicesThatTheirRuleChecks) {
  std::vector<FieldDoc> docs;
  describe_fields(Outer{}, docs);
  ASSERT_EQ(docs.size(), 4u);
  EXPECT_EQ(docs[0].path, "train.steps");
  EXPECT_EQ(docs[0].value, "10");
  EXPECT_EQ(docs[0].doc, "how many");
  EXPECT_TRUE(docs[0].choices.empty()) << "a range is no list of names";
  EXPECT_EQ(docs[2].path, "mode");
  EXPECT_EQ(docs[2].choices, (std::vector<std::string>{"linear", "cosine"}));
}

}  // namespace tweedie
