# An image that enlarges the pictures and films of a folder:
#
#     docker build --tag xlsr .
#     docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD/photos:/data" xlsr
#
# The results are in photos/x2. Any other command of xlsr follows the name of the image:
#
#     docker run --rm --user "$(id -u):$(id -g)" --volume "$PWD:/data" xlsr upscale photo.jpg --scale 4

FROM python:3.13-slim AS build
COPY . /source
RUN pip wheel --no-cache-dir --wheel-dir /wheels /source

FROM python:3.13-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links=/wheels xlsr-cli
ENV HOME=/tmp
WORKDIR /data
ENTRYPOINT ["xlsr"]
CMD ["batch", ".", "--recursive", "--exclude", "x2/**", "--output", "x2"]
