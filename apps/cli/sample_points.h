// tweedie sample of a model of points.
#pragma once
#include "tweedie/pipeline/generate.h"

namespace tweedie::cli {

/// What is to be written; empty: not asked for.
struct PointFiles {
  std::string out;  ///< .csv: the numbers; else a scatter plot
  std::string tensor, animation, density;
};

/// Draws the points and writes the files; without any, samples.png. `facts`: what the request is
/// about, for the JSON.
void sample_points(Model& model, const GenerateRequest& request, PointFiles files,
                   const Json& facts);

}  // namespace tweedie::cli
