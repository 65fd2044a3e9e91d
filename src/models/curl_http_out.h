#pragma once

#include "models/call.h"

namespace aegis::models {

/// HttpOut over a net::CurlMulti, which must outlive it.
class CurlHttpOut : public HttpOut {
  public:
    explicit CurlHttpOut(net::CurlMulti& curl) : curl_(curl) {}
    net::TransferId start(net::CurlRequest request, net::CurlCallbacks callbacks) override {
        return curl_.start(std::move(request), std::move(callbacks));
    }
    void cancel(net::TransferId id) override { curl_.cancel(id); }

  private:
    net::CurlMulti& curl_;
};

}  // namespace aegis::models
