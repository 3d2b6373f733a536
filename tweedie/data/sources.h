// The kinds of dataset behind open_dataset(). Every function throws Error (user) for files that are
// missing, truncated or contradict themselves, naming the file.
#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tweedie/core/error.h"
#include "tweedie/data/dataset.h"

namespace tweedie {

/// Thrown where the part that was asked for is not there at all, as opposed to damaged.
class AbsentPart : public Error {
 public:
  explicit AbsentPart(const std::string& message) : Error(Kind::kUser, message) {}
};

/// "train", "test" or "all".
std::string split_name(Split split);

/// "1 image", "60000 images".
std::string counted(int64_t n, const std::string& one, const std::string& many);

/// IDX (the format of MNIST): {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz] in one folder,
/// grey, 8 bit. `classes` may be empty: then they are named "0", "1", ... up to the largest label
/// of the folder.
DatasetPtr open_idx(const std::string& name, const std::filesystem::path& folder, Split split,
                    std::vector<std::string> classes = {});
/// Whether the folder holds IDX files of that naming.
bool has_idx(const std::filesystem::path& folder);

DatasetPtr open_fashion_mnist(Split split);

/// CIFAR-10, "binary version": data_batch_{1..5}.bin and test_batch.bin in the folder or in its
/// cifar-10-batches-bin, records of 1 label byte and 3072 bytes of planar RGB.
DatasetPtr open_cifar10(const std::filesystem::path& folder, Split split);
bool has_cifar10(const std::filesystem::path& folder);

/// Pictures below a folder; the class is the first folder level. train/ and test/ are the splits if
/// both exist, else a hash of the relative path holds out the share `holdout`.
DatasetPtr open_folder(const std::filesystem::path& folder, Split split, double holdout);
/// Whether a picture lies anywhere below the folder.
bool has_images(const std::filesystem::path& folder);

/// `size` is "", "32" or "32x48" (height x width).
DatasetPtr open_shapes(const std::string& size, Split split);

}  // namespace tweedie
