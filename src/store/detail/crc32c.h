// CRC-32C (Castagnoli), as iSCSI and ext4 use it: the processor's instruction where there is one.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>

namespace mayfly::store {

[[nodiscard]] std::uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace mayfly::store
