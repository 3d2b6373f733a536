// The element types of safetensors and what LibTorch calls them. Internal to io.
#pragma once
#include <c10/core/ScalarType.h>

#include <array>
#include <optional>
#include <string_view>

namespace tweedie::safetensors {

struct DtypeInfo {
  std::string_view name;
  int64_t bits;
  std::optional<c10::ScalarType> type;  // none: LibTorch has no such element
};

/// In the order of the reference implementation's enum: its writer sorts by it, largest first.
inline constexpr std::array<DtypeInfo, 22> kDtypes = {{
    {"BOOL", 8, c10::ScalarType::Bool},
    {"F4", 4, std::nullopt},
    {"F6_E2M3", 6, std::nullopt},
    {"F6_E3M2", 6, std::nullopt},
    {"U8", 8, c10::ScalarType::Byte},
    {"I8", 8, c10::ScalarType::Char},
    {"F8_E5M2", 8, c10::ScalarType::Float8_e5m2},
    {"F8_E4M3", 8, c10::ScalarType::Float8_e4m3fn},
    {"F8_E8M0", 8, c10::ScalarType::Float8_e8m0fnu},
    {"F8_E4M3FNUZ", 8, c10::ScalarType::Float8_e4m3fnuz},
    {"F8_E5M2FNUZ", 8, c10::ScalarType::Float8_e5m2fnuz},
    {"I16", 16, c10::ScalarType::Short},
    {"U16", 16, c10::ScalarType::UInt16},
    {"F16", 16, c10::ScalarType::Half},
    {"BF16", 16, c10::ScalarType::BFloat16},
    {"I32", 32, c10::ScalarType::Int},
    {"U32", 32, c10::ScalarType::UInt32},
    {"F32", 32, c10::ScalarType::Float},
    {"C64", 64, c10::ScalarType::ComplexFloat},
    {"F64", 64, c10::ScalarType::Double},
    {"I64", 64, c10::ScalarType::Long},
    {"U64", 64, c10::ScalarType::UInt64},
}};

}  // namespace tweedie::safetensors
