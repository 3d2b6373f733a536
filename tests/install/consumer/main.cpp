// A program outside the tree that uses the installed library.
#include <tweedie/tweedie.h>

#include <cstdio>

int main() {
  tweedie::SeededNoise noise(/*seed=*/7, /*first=*/0, {2, 1, 4, 4});
  std::printf("%.6f\n", noise.init().abs().mean().item<double>());
}
