// Every config that is shipped says what it is for and fits together.
#include <gtest/gtest.h>

#include "tweedie/losses/loss.h"
#include "tweedie/losses/t_sampler.h"
#include "tweedie/pipeline/config.h"
#include "tweedie/process/config_json.h"
#include "tweedie/train/options.h"

namespace tweedie {

TEST(Recipes, EveryConfigSaysWhatItIsForAndFitsTogether) {
  const std::vector<std::string> names = known_configs();
  EXPECT_GE(names.size(), 10u);
  for (const std::string& name : names) {
    SCOPED_TRACE(name);
    Config config = read_config(name);
    EXPECT_FALSE(config.about.empty());
    config.model->sample_size = config.data.size;
    EXPECT_NO_THROW(validate(config.model));
    EXPECT_NO_THROW(validate(config.train));
    EXPECT_NO_THROW(scheduler_class(config.process));
    const Process process(config.process);
    EXPECT_NO_THROW(Loss(config.objective, process));
    EXPECT_NO_THROW(TimestepSampler(config.objective, process.schedule()));
    const bool learned = config.process.variance_type.starts_with("learned");
    EXPECT_EQ(config.model->out_channels, (learned ? 2 : 1) * config.model->in_channels);
  }
}

TEST(Recipes, SayHowToDrawFromWhatTheyTrain) {
  EXPECT_EQ(read_config("ddpm-cifar10").sample.sampler, "ddpm");
  EXPECT_EQ(read_config("edm-cifar10").sample.sampler, "heun");
  EXPECT_EQ(read_config("edm-cifar10").sample.steps, 18);
  for (const char* name : {"iddpm-cifar10-simple", "iddpm-cifar10-hybrid", "iddpm-cifar10-vlb"}) {
    Config config = read_config(name);
    EXPECT_EQ(config.sample.steps, 4000) << name;
    EXPECT_EQ(config.model.unet().attn_norm_num_groups, 32) << name << ": scale_shift needs it";
  }
}

}  // namespace tweedie
