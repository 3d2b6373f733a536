// A whole training and the samples from it: shapes in colour, a small network, a minute.
#include <cstdio>

#include "tweedie/tweedie.h"

using namespace tweedie;

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "usage: train_and_sample OUT.png\n"), 2;
  try {
    Config config;
    config.data.source = "shapes:16";
    UNetOptions& net = config.model.unet();
    net.block_out_channels = {16, 32};
    net.down_block_types = {"DownBlock2D", "AttnDownBlock2D"};
    net.up_block_types = {"AttnUpBlock2D", "UpBlock2D"};
    net.norm_num_groups = 8;
    config.train.steps = 30;  // far too few for good samples, enough to see the parts at work
    config.train.warmup_steps = 5;
    config.train.batch_size = 32;
    config.train.learning_rate = 1e-3;

    const std::string run = std::string(argv[1]) + ".run";
    Training training(config, run);
    const TrainState state = training.run(
        [](const Progress& p) { std::printf("step %ld of %ld\n", long(p.done), long(p.total)); },
        /*notice=*/{}, /*cancel=*/{}, /*resume=*/false, /*force=*/true);

    Model model = load_model(run);
    write_image(argv[1], tile(generate(model, {.n = 8, .seed = 1, .steps = 10}), 4, 2));
    std::printf("%ld images seen, samples in %s\n", long(state.images), argv[1]);
    return 0;
  } catch (const Error& e) {
    return std::fprintf(stderr, "%s\n", e.what()), 1;
  }
}
