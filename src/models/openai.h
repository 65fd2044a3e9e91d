#pragma once

#include "models/dialect.h"

namespace aegis::models {

/// OpenAI's Chat Completions (https://platform.openai.com/docs/api-reference/chat), as OpenAI,
/// Azure, vLLM, llama.cpp, Ollama and many others speak it. Always asks for a stream; also reads a
/// whole document.
class OpenAiDialect : public Dialect {
  public:
    explicit OpenAiDialect(ProviderSettings settings) : settings_(std::move(settings)) {}

    WireRequest encode(const ports::ModelRequest& request) const override;
    std::unique_ptr<AnswerReader> reader(WireNames tools) const override;

  private:
    std::string body(const ports::ModelRequest& request, WireNames& names) const;

    ProviderSettings settings_;
};

}  // namespace aegis::models
