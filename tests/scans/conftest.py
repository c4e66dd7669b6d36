"""The furnished test room, shared by the tests of scans and scenes."""

from box_scene import box_room, box_room_folder, make_camera, make_cuboid, make_room  # noqa: F401
