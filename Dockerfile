# A static binary, Google's, Zoho's and the database's certificate authorities, and nothing else.
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /zohomirror ./cmd/zohomirror

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /zohomirror /zohomirror
# A number, since there is no /etc/passwd, and Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=6s --start-period=5s --retries=3 CMD ["/zohomirror", "healthcheck"]
ENTRYPOINT ["/zohomirror"]
CMD ["serve"]
