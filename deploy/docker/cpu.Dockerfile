# An image with eellm for CPUs, built, in /opt/eellm. From the repository's root:
#
#   docker build -f deploy/docker/cpu.Dockerfile -t eellm .
#   docker run --rm --shm-size 4g eellm ./eellm ranks --nproc 2 --tp 2
FROM maven:3.9-eclipse-temurin-25 AS build
COPY . /opt/eellm
WORKDIR /opt/eellm
# Maven's repository lies where every user may read it; of it, the image needs what Java loads.
RUN MAVEN_OPTS=-Dmaven.repo.local=/opt/repository ./eellm --version \
  && tr : '\n' <target/classpath.txt | grep '^/opt/repository/' | xargs cp --parents -t /mnt

FROM eclipse-temurin:25-jdk
COPY --from=build /mnt/opt/repository /opt/repository
COPY --from=build /opt/eellm /opt/eellm
WORKDIR /opt/eellm
CMD ["./eellm", "--help"]
