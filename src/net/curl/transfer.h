#pragma once

#include <array>
#include <memory>
#include <string_view>

#include "net/curl/curl_multi.h"
#include "net/curl/library.h"

/// The inside of CurlMulti: not for other rooms.
namespace aegis::net {

/// One easy handle with everything it points to. Only the curl thread touches it once it is
/// attached.
class Transfer {
  public:
    Transfer(TransferId id, CurlRequest request, CurlCallbacks callbacks);
    ~Transfer();
    Transfer(const Transfer&) = delete;
    Transfer& operator=(const Transfer&) = delete;

    /// Sets all options. kInvalid for a header that may not be sent, kTimeout if it is too late
    /// already.
    Status prepare();
    CURL* easy() const { return easy_.get(); }
    TransferId id() const { return id_; }

    void finish(CURLcode code);
    void fail(Error error);
    /// From now on nothing is called back.
    void mute() { muted_ = true; }
    bool muted() const { return muted_; }

  private:
    struct EasyDeleter {
        void operator()(CURL* easy) const { curl().easy_cleanup(easy); }
    };
    static std::size_t onWrite(char* bytes, std::size_t size, std::size_t count, void* self);
    static std::size_t onHeader(char* bytes, std::size_t size, std::size_t count, void* self);
    static curl_socket_t onOpenSocket(void* self, curlsocktype, curl_sockaddr*);
    static int onSocket(void* self, curl_socket_t, curlsocktype);
    Status pin();
    std::uint64_t bytes() const;
    Status addHeader(std::string_view name, std::string_view value);
    void setBody();
    std::size_t take(std::string_view chunk);
    void takeHeaderLine(std::string_view line);
    Error errorOf(CURLcode code) const;

    TransferId id_;
    CurlRequest request_;
    CurlCallbacks callbacks_;
    std::unique_ptr<CURL, EasyDeleter> easy_;
    curl_slist* headers_ = nullptr;
    curl_slist* connect_to_ = nullptr;
    std::array<char, CURL_ERROR_SIZE> message_{};
    CurlHead head_;
    bool head_told_ = false;
    std::uint64_t received_ = 0;
    std::size_t head_bytes_ = 0;   ///< of all heads and trailers
    std::optional<Error> reason_;  ///< of our own abort
    bool muted_ = false;
};

}  // namespace aegis::net
