#include "run.h"

#include <sys/wait.h>

#include <cstdlib>
#include <sstream>

#include "tests/support/scratch.h"
#include "tweedie/io/files.h"

namespace tweedie::testing {

std::vector<std::string> Outcome::lines() const {
  std::vector<std::string> lines;
  std::istringstream stream(err);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

Outcome run(const std::string& args, const std::string& folder) {
  const Scratch scratch;
  const std::string command = fmt::format("cd '{}' && OMP_NUM_THREADS=1 '{}' {} >'{}' 2>'{}' </dev/null", folder,
                                          TWEEDIE_CLI, args, scratch / "out", scratch / "err");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_file(scratch / "out"),
          read_file(scratch / "err")};
}

}  // namespace tweedie::testing
