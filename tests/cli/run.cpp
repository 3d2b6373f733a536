#include "run.h"

#include <gtest/gtest.h>
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

Outcome shell(const std::string& line, const std::string& folder) {
  const Scratch scratch;
  const std::string command = formatted(
      "cd '{}' && export OMP_NUM_THREADS=1 TWEEDIE='{}' && tweedie() {{ \"$TWEEDIE\" \"$@\"; }} && "
      "{{ {}; }} >'{}' 2>'{}' </dev/null",
      folder, TWEEDIE_CLI, line, scratch / "out", scratch / "err");
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
          read_file(scratch / "out"), read_file(scratch / "err")};
}

Outcome run(const std::string& args, const std::string& folder) {
  return shell("tweedie " + args, folder);
}

void expect_mistake(const std::string& args, const std::vector<std::string>& words,
                    const std::string& folder) {
  const Outcome outcome = run(args, folder);
  EXPECT_EQ(outcome.code, 2) << args << "\n" << outcome.err;
  EXPECT_EQ(outcome.out, "") << args;
  EXPECT_EQ(outcome.lines().size(), 1u) << args << "\n" << outcome.err;
  for (const std::string& word : words)
    EXPECT_NE(outcome.err.find(word), std::string::npos) << args << "\n"
                                                         << outcome.err << "lacks: " << word;
}

}  // namespace tweedie::testing
