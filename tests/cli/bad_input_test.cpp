// Every mistake is one line on standard error that names the value and what is known, and exit
// code 2.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "run.h"
#include "tests/support/scratch.h"
#include "tests/support/tiny_model.h"
#include "tweedie/io/files.h"
#include "tweedie/io/image.h"
#include "tweedie/io/safetensors.h"

namespace fs = std::filesystem;

namespace tweedie::testing {
namespace {

class BadInput : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    scratch = new Scratch;
    make_model(*scratch / "plain");
    make_model(*scratch / "classes", 3);
    write_file(*scratch / "config.json",
               R"({"data": {"source": "shapes:8"}, "train": {"steps": 1}})");
    fs::create_directories(*scratch / "full");
    write_file(*scratch / "full/file", "x");
    write_image(*scratch / "exists.png", {1, 1, 1, {0}});
  }
  static void TearDownTestSuite() { delete scratch; }

  /// In the scratch folder.
  static void expect(const std::string& args, const std::vector<std::string>& words) {
    testing::expect_mistake(args, words, scratch->path());
  }
  /// A copy of the model `plain` with one file replaced.
  static void broken(const std::string& name, const std::string& file, const std::string& content) {
    fs::copy(*scratch / "plain", *scratch / name, fs::copy_options::recursive);
    std::ofstream(*scratch / (name + "/" + file), std::ios::binary) << content;
  }
  static Scratch* scratch;
};
Scratch* BadInput::scratch = nullptr;

TEST_F(BadInput, Verbs) {
  expect("", {"no verb", "train", "sample"});
  expect("smaple plain", {"'smaple'", "did you mean sample?"});
  expect("list smaplers", {"'smaplers'", "did you mean samplers?"});
  expect("plot curve plain --out a.png", {"'curve'", "training", "noising", "schedule"});
}

TEST_F(BadInput, Flags) {
  expect("sample plain --stepz 5", {"--stepz", "did you mean --steps?"});
  expect("sample", {"model"});
  expect("sample plain --n many", {"--n many", "expected a whole number"});
  expect("sample plain --steps 5.5", {"--steps 5.5", "expected a whole number"});
  expect("sample plain --eta x", {"--eta x", "expected a number"});
  expect("sample plain --n 0", {"--n 0"});
  expect("sample plain --n -3", {"--n", "-3"});
  expect("sample plain --steps 0", {"--steps 0", "1..1000"});
  expect("sample plain --steps 1001", {"--steps 1001", "1..1000"});
  expect("sample plain --batch 0", {"--batch 0"});
  expect("sample plain --seed x", {"--seed x", "expected a whole number from 0 on"});
  expect("sample plain --seed -1", {"--seed", "-1", "expected a whole number from 0 on"});
  expect("sample plain --timesteps ''", {"--timesteps", "empty"});
  expect("sample plain --compare ''", {"--compare", "empty"});
  expect("sample plain --out ''", {"--out", "empty"});
  expect("plot schedule linear --out a.png --index -1", {"--index", "-1"});
  expect("plot schedule linear --data shapes:8 --out a.png --index 99999999",
         {"--index 99999999", "outside 0.."});
  expect("sample plain --sampler dimm", {"'dimm'", "did you mean ddim?", "ddpm"});
  expect("sample plain --eta 1.5", {"eta", "1.5"});
  expect("sample plain --spacing middle", {"middle", "leading", "trailing"});
  expect("sample plain --variance tiny", {"tiny", "fixed_small"});
  expect("sample plain --clip-eps maybe", {"maybe", "rederive"});
  expect("sample plain --device tpu", {"'tpu'", "cpu"});
  expect("sample plain --threads -1", {"--threads -1"});
  expect("sample plain --animate way.gif", {"way.gif", ".webp"});
  expect("sample plain --columns 0", {"--columns"});
  expect("sample plain extra", {"extra"});
  expect("sample plain --n 99999999999", {"--n 99999999999"});
  expect("sample plain --sampler ddpm --eta 0.5", {"--eta", "ddpm", "ddim"});
  expect("sample plain --variance fixed_large", {"--variance", "ddim", "ddpm"});
  expect("sample plain --spacing linspace --steps-offset 9", {"--steps-offset 9", "linspace"});
  expect("sample plain --clip --no-clip", {"--clip"});
  expect("list samplers --device tpu", {"'tpu'"});
  expect("plot noising plain --out a.png --device tpu", {"'tpu'"});
}

TEST_F(BadInput, SamplerFlags) {
  expect("sample plain --spacing karas", {"'karas'", "did you mean karras?"});
  expect("sample plain --spacing never", {"'never'", "ddim50"});
  expect("sample plain --spacing 2000", {"2000", "1000"});
  expect("sample plain --spacing ddim51", {"ddim51", "no stride"});
  expect("sample plain --spacing 10,,5", {"10,,5"});
  expect("sample plain --spacing 250 --steps 50", {"--steps 50", "250"});
  expect("sample plain --timesteps 5,7", {"must fall", "7 follows 5"});
  expect("sample plain --timesteps 1000", {"1000", "0..999"});
  expect("sample plain --timesteps 9,x", {"--timesteps 9,x", "expected whole numbers"});
  expect("sample plain --timesteps 9,5 --spacing karras", {"--timesteps", "karras"});
  expect("sample plain --timesteps 9,5 --steps-offset 1", {"--steps-offset 1"});
  expect("sample plain --rho 5", {"--rho 5", "karras", "leading"});
  expect("sample plain --spacing karras --rho 0", {"rho", "0"});
  expect("sample plain --spacing karras --rho inf", {"rho inf", "do not fall"});
  expect("sample plain --spacing karras --steps 1 --sigma-max 9", {"--sigma-max 9", "1 step"});
  expect("sample plain --sigma-max 12", {"--sigma-max 12", "log_snr", "leading"});
  expect("sample plain --timesteps 9,5 --sigma-min 1", {"--sigma-min 1", "a list"});
  expect("sample plain --spacing log_snr --sigma-max -1", {"--sigma-max -1", "more than 0"});
  expect("sample plain --spacing log_snr --sigma-max 1e9", {"sigma_max 1e+09", "expected"});
  expect("sample plain --sampler unipc --spacing karras --sigma-max 9 --scheduler-rules diffusers",
         {"--sigma-max 9", "UniPCMultistepScheduler"});
  expect("sample plain --sampler unipc --order 4", {"--order 4", "1..3", "unipc"});
  expect("sample plain --sampler unipc --order 0", {"--order 0", "1..3", "unipc"});
  expect("sample plain --sampler ipndm --order 9", {"--order 9", "1..4", "ipndm"});
  expect("sample plain --order 2", {"--order", "ddim", "unipc"});
  expect("sample plain --sampler unipc --solver-type heun", {"'heun'", "unipc", "known: bh1, bh2"});
  expect("sample plain --sampler dpmpp_2m --solver-type bh1", {"'bh1'", "known: midpoint, heun"});
  expect("sample plain --sampler heun --no-corrector", {"--no-corrector", "unipc"});
  expect("sample plain --sampler deis --basis sigma", {"sigma", "log_rho"});
  expect("sample plain --sampler heun --s-churn 5", {"--s-churn", "edm"});
  expect("sample plain --sampler edm --s-churn -1", {"s_churn", "-1"});
  expect("sample plain --sampler edm --s-min 5 --s-max 2", {"--s-min 5", "--s-max 2"});
  expect("sample plain --dynamic-threshold 1.5", {"--dynamic-threshold 1.5", "0 < p <= 1"});
  expect("sample plain --dynamic-threshold 0", {"--dynamic-threshold 0", "0 < p <= 1"});
  expect("sample plain --sampler ddpm --variance learned_range --out new",
         {"--variance learned_range", "plain", "no learned variance", "fixed_small"});
  EXPECT_FALSE(fs::exists(*scratch / "new"));
  expect("sample plain --dynamic-threshold 0.9 --no-clip", {"--dynamic-threshold", "--no-clip"});
  expect("sample plain --scheduler-rules papers", {"'papers'", "did you mean paper?"});
  expect("sample plain --scheduler-rules diffusers --sampler edm", {"diffusers", "edm"});
  expect("sample plain --scheduler-rules diffusers --spacing 250", {"250", "DDIMScheduler"});
  expect("sample plain --scheduler-rules diffusers --sampler pndm --steps 3", {"pndm", "4"});
  expect("sample plain --compare dimm:5", {"'dimm'", "did you mean ddim?"});
  expect("sample plain --compare ddim:x", {"ddim:x", "sampler:steps"});
  expect("sample plain --compare ddim:5 --sampler heun", {"--compare", "--sampler"});
  expect("sample plain --compare ddim:5,heun:5 --eta 1", {"--eta", "heun"});
  expect("sample plain --compare ddim:5 --save-tensor t.safetensors", {"--compare", "picture"});
  expect("sample plain --compare ddim:5 --out exists.png", {"exists.png", "--force"});
}

TEST_F(BadInput, Classes) {
  expect("sample plain --class 1", {"--class 1", "unconditional"});
  expect("sample classes --class 3", {"--class 3", "0..2"});
  expect("sample classes --class kind9", {"'kind9'", "kind0"});
  expect("sample classes --n 4 --class 0,1", {"2 entries", "4"});
  expect("sample classes --n -1 --class 1", {"--n", "-1"});
  expect("sample classes --class ''", {"--class"});
}

TEST_F(BadInput, Outputs) {
  expect("sample plain --out exists.png", {"exists.png", "--force"});
  expect("sample plain --out full", {"full", "--force"});
  expect("sample plain --out config.json/x.png", {"config.json"});
  expect("sample plain --out /proc/x.png", {"/proc"});
  expect("sample plain --save-tensor a.png", {"--save-tensor a.png", ".safetensors"});
  expect("sample plain --out a.png --save-tensor a.png/x.safetensors", {"inside", "--out"});
  write_file(*scratch / "exists.safetensors", "x");
  expect("sample plain --save-tensor exists.safetensors", {"exists.safetensors", "--force"});
  expect("sample plain --out grid.gif", {"grid.gif", ".gif", ".png"});
  expect("sample plain --out a.png --animate ./a.png", {"a.png", "--animate"});
  expect("sample plain --out w.png --every 1 --animate w-way.png", {"w-way.png", "--every"});
  expect("sample nothing-here --out new/x.png", {"nothing-here"});
  EXPECT_FALSE(fs::exists(*scratch / "new"));
  EXPECT_EQ(read_image(*scratch / "exists.png").width, 1);
}

TEST_F(BadInput, ModelFolders) {
  expect("sample nothing-here", {"nothing-here"});
  expect("sample full", {"full", "not a model folder"});
  broken("a", "unet/config.json", "{ \"in_channels\": ");
  expect("sample a", {"config.json"});
  broken("b", "unet/config.json", R"({"in_chanels": 1})");
  expect("sample b", {"config.json", "in_chanels", "did you mean in_channels?"});
  broken("c", "unet/config.json", R"({"_class_name": "UNet2DConditionModel"})");
  expect("sample c", {"UNet2DConditionModel", "UNet2DModel"});
  broken("d", "unet/diffusion_pytorch_model.safetensors", "");
  expect("sample d", {"diffusion_pytorch_model.safetensors"});
  broken("e", "unet/diffusion_pytorch_model.safetensors", std::string(8, '\xff') + "{}");
  expect("sample e", {"diffusion_pytorch_model.safetensors"});
  broken("f", "scheduler/scheduler_config.json", R"({"beta_schedule": "linaer"})");
  expect("sample f", {"linaer", "did you mean linear?"});
  broken("g", "scheduler/scheduler_config.json", R"({"prediction_type": "noise"})");
  expect("sample g", {"noise", "epsilon"});
  broken("i", "scheduler/scheduler_config.json", "[]");
  expect("sample i", {"scheduler_config.json"});
  broken("j", "scheduler/scheduler_config.json", R"({"_class_name": 5})");
  expect("info j", {"scheduler_config.json"});
  broken("k", "tweedie.json", R"({"steps": "x"})");
  expect("info k", {"tweedie.json", "steps"});
  broken("l", "tweedie.json", R"({"data": []})");
  expect("info l", {"tweedie.json", "[]"});
  broken("m", "tweedie.json", R"({"null_class": 0})");
  expect("sample m", {"tweedie.json"});
  fs::copy(*scratch / "classes", *scratch / "n", fs::copy_options::recursive);
  for (const char* null_class : {"-3", "0", "999"}) {
    write_file(*scratch / "n/tweedie.json", formatted(R"({{"null_class": {}}})", null_class));
    expect("sample n", {"tweedie.json", "null_class is", null_class});
  }
  write_file(*scratch / "n/tweedie.json", R"({"classes": ["a", "b", "c", "d", "e"]})");
  expect("sample n", {"tweedie.json", "5 names"});
  make_model(*scratch / "two", 0, "", 2);
  expect("sample two", {"2 channels", "--save-tensor"});
  fs::copy(*scratch / "plain", *scratch / "h", fs::copy_options::recursive);
  TensorMap weights;
  for (const auto& [name, tensor] :
       read_safetensors(*scratch / "plain/unet/diffusion_pytorch_model.safetensors"))
    weights[name] = tensor.clone();
  weights.erase("conv_in.bias");
  write_safetensors(*scratch / "h/unet/diffusion_pytorch_model.safetensors", weights);
  expect("sample h", {"conv_in.bias", "missing"});
}

TEST_F(BadInput, NoiseFiles) {
  write_safetensors(*scratch / "noise.safetensors", {{"init", at::zeros({2, 1, 8, 8})}});
  expect("sample plain --n 3 --noise noise.safetensors", {"[2,1,8,8]", "[3,1,8,8]"});
  expect("sample plain --n 2 --noise absent.safetensors", {"absent.safetensors"});
  write_safetensors(*scratch / "steps.safetensors", {{"steps", at::zeros({2, 1, 8, 8})}});
  expect("sample plain --n 2 --noise steps.safetensors", {"init"});
  const Outcome few =
      run("sample plain --quiet --n 2 --noise noise.safetensors --sampler ddpm --steps 3",
          scratch->path());
  EXPECT_EQ(few.code, 2);
  EXPECT_EQ(few.lines().size(), 1u) << few.err;
}

TEST_F(BadInput, Data) {
  expect("info fashon-mnist", {"fashon-mnist", "fashion-mnist"});
  expect("info idx:" + scratch->path() + "/absent", {"absent"});
  expect("info idx:" + scratch->path() + "/full", {"full"});
  expect("info cifar10:" + scratch->path() + "/full", {"full"});
  expect("info folder:" + scratch->path() + "/full", {"full"});
  expect("info fashion-mnist@validation", {"validation", "train"});
  expect("info shapes:abc", {"abc"});
  expect("info shapes:8 --plan", {"--plan", "shapes:8"});
  expect("info exists.png --plan", {"--plan", "exists.png"});
  fs::create_directories(*scratch / "idx");
  write_file(*scratch / "idx/train-images-idx3-ubyte",
             std::string("\0\0\x08\x03\x7f\xff\xff\xff", 8));
  write_file(*scratch / "idx/train-labels-idx1-ubyte", std::string("\0\0\x08\x01\0\0\0\1\3", 9));
  expect("info idx:" + scratch->path() + "/idx@train", {"train-images-idx3-ubyte"});
  write_file(*scratch / "cut.png", std::string("\x89PNG\r\n\x1a\n\0\0\0", 11));
  expect("info cut.png", {"cut.png"});
}

TEST_F(BadInput, Training) {
  expect("train absent-config --out r", {"absent-config", "fashion"});
  expect("train config.json", {"--out"});
  expect("train config.json --out full", {"full"});
  expect("train config.json --out r --set train.stepz=5",
         {"train.stepz", "did you mean train.steps?"});
  expect("train config.json --out r --set train.steps=0", {"train.steps"});
  expect("train config.json --out r --set train.steps=ten", {"train.steps", "ten"});
  expect("train config.json --out r --set nonsense", {"nonsense", "key=value"});
  expect("train config.json --out r --set train.steps=5 --set train.images=5", {"steps", "images"});
  expect("train config.json --out r --set model.act_fn=silly", {"silly", "silu"});
  expect("train config.json --out r --set process.beta_schedule=cosine",
         {"'cosine'", "did you mean squaredcos_cap_v2?"});
  expect("train config.json --out r --set model.block_out_channels=[8]", {"block"});
  expect("train config.json --out r --set data.source=nothing", {"nothing"});
  expect("train config.json --out r --set train.precision=fp8", {"fp8", "bf16"});
  expect("train config.json --out r --set objective.label_dropout=2", {"label_dropout"});
  for (const char* end : {"rescale_betas_zero_snr=true", "beta_end=1"})
    expect(formatted("train config.json --out r --set process.{}", end),
           {"prediction_type", "epsilon", "no signal", "v_prediction"});
  expect("train config.json --out r --resume", {"r", "checkpoint"});
  expect("train config.json --dry-run --resume", {"--dry-run", "--resume"});
  expect("train config.json --out r --tune --precision bf16", {"--tune", "bf16"});
  expect("train --out r", {"--data"});
  expect("train config.json --force --out exists.png", {"exists.png"});
  fs::create_directories(*scratch / "log");
  write_file(*scratch / "log/log.jsonl", R"({"images": "x", "loss": 1})");
  expect("plot training log --out p.png", {"log.jsonl", "images"});
  EXPECT_FALSE(fs::exists(*scratch / "r")) << "a refused training leaves no folder";
}

}  // namespace
}  // namespace tweedie::testing
