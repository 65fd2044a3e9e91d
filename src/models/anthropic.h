#pragma once

#include "models/dialect.h"

namespace aegis::models {

/// Anthropic's Messages API (https://docs.anthropic.com/en/api/messages), version 2023-06-01.
/// Always asks for a stream; also reads a whole document.
class AnthropicDialect : public Dialect {
  public:
    explicit AnthropicDialect(ProviderSettings settings) : settings_(std::move(settings)) {}

    WireRequest encode(const ports::ModelRequest& request) const override;
    std::unique_ptr<AnswerReader> reader(WireNames tools) const override;

  private:
    std::string body(const ports::ModelRequest& request, WireNames& names) const;

    ProviderSettings settings_;
};

}  // namespace aegis::models
