// A program outside the tree that draws with the installed library and the installed model.
#include <tweedie/tweedie.h>

#include <cstdio>

int main() try {
  tweedie::Model model = tweedie::load_model(MODEL);
  const auto images = tweedie::generate(model, {.n = 4, .seed = 1, .steps = 2});
  tweedie::write_image("garments.png", tweedie::tile(images, 4, 2));
  std::printf("drew %zu images\n", images.size());
} catch (const tweedie::Error& e) {
  std::fprintf(stderr, "%s\n", e.what());
  return 1;
}
