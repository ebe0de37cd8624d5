# An image with eellm for NVIDIA GPUs, built, in /opt/eellm. From the repository's root:
#
#   docker build -f deploy/docker/cuda.Dockerfile -t eellm:cuda .
#   docker run --rm --gpus all --shm-size 16g eellm:cuda ./eellm doctor
#
# The base has CUDA 13.1 with cuBLAS, cuSOLVER, cuSPARSE, cuDNN 9 and NCCL 2. The driver, 580 or
# newer, is the host's; NVIDIA's container toolkit lends it.
FROM maven:3.9-eclipse-temurin-25 AS tools

FROM nvidia/cuda:13.1.1-cudnn-runtime-ubuntu24.04 AS base
COPY --from=tools /opt/java/openjdk /opt/java/openjdk
ENV JAVA_HOME=/opt/java/openjdk PATH=/opt/java/openjdk/bin:$PATH EELLM_PROFILE=cuda

FROM base AS build
COPY --from=tools /usr/share/maven /usr/share/maven
COPY . /opt/eellm
WORKDIR /opt/eellm
# Maven's repository lies where every user may read it; of it, the image needs what Java loads.
RUN PATH=/usr/share/maven/bin:$PATH MAVEN_OPTS=-Dmaven.repo.local=/opt/repository ./eellm --version \
  && tr : '\n' <target/classpath-cuda.txt | grep '^/opt/repository/' | xargs cp --parents -t /mnt

FROM base
COPY --from=build /mnt/opt/repository /opt/repository
COPY --from=build /opt/eellm /opt/eellm
WORKDIR /opt/eellm
CMD ["./eellm", "doctor"]
