# An image with what `mvn -Pdist package` has made, to serve models: a Java of its own, no libtorch, a user without rights.
#
#   docker build -f deploy/docker/serve.Dockerfile -t eellm:serve eellm-dist/target
#   docker run --rm --read-only --tmpfs /tmp:exec --cap-drop ALL --security-opt no-new-privileges --memory 2g --cpus 2 \
#     -p 127.0.0.1:8000:8000 -v "$PWD/runs/mine:/model:ro" eellm:serve
FROM debian:trixie-slim
ADD eellm-*.tar.gz /opt/
# Stores what makes it start sooner, while there is somebody who may write.
RUN /opt/eellm/eellm --version
# Native libraries are unpacked at home.
ENV HOME=/tmp
USER 10001:10001
EXPOSE 8000
ENTRYPOINT ["/opt/eellm/eellm"]
CMD ["serve", "--model", "/model", "--host", "0.0.0.0"]
